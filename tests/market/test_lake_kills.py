"""kill -9 in the middle of an import: the lake is valid at once, and the next import finishes the work."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from market_helpers import as_csv, bars

from fxgpt_core.common.errors import DataError
from fxgpt_core.market.bars import CANDLES
from fxgpt_core.market.files.importing import import_file
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.lake_check import LakeReport, check_lake
from fxgpt_core.store.storage import is_leftover

KEYS = {"symbol": "EURUSD", "timeframe": "15m"}

_IMPORT = """
import os, signal, sys
from fxgpt_core.market.files.importing import import_file
from fxgpt_core.market.lake import Lake

left, rename = int(sys.argv[3]), os.replace

def replace(*places):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*places)

os.replace = replace
print("ready", flush=True)
import_file(Lake(sys.argv[1]), sys.argv[2], tz="UTC")
"""
"""Import a file; the process dies before its n-th rename (never, when n is 0)."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a file of half a year of bars, and an older one of its first 70 days and without every seventh bar."""
    folder, candles = tmp_path_factory.mktemp("files"), bars(12_000, "15m")
    early = candles.take(np.flatnonzero(np.arange(4_800) % 7 > 0))
    (folder / "EURUSD_mid.csv").write_text(as_csv(candles))
    (folder / "EURUSD_mid_early.csv").write_text(as_csv(early))
    return folder / "EURUSD_mid.csv", folder / "EURUSD_mid_early.csv"


@pytest.fixture(scope="module")
def undisturbed(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    lake = Lake(tmp_path_factory.mktemp("undisturbed"))
    for path in reversed(files):
        import_file(lake, path, tz="UTC")
    return _content(lake)


def _content(lake: Lake) -> dict[str, bytes]:
    """Return every file of the lake but the leftovers of the killed."""
    return {name: lake.storage.read(name) for name in lake.storage.names("") if not is_leftover(name)}


def _start(lake: Lake, path: Path, renames: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", _IMPORT, str(lake.root), str(path), str(renames)]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def _await_writing(lake: Lake, child: subprocess.Popen[str]) -> None:
    """Return once the manifest names months that are being written, or the import has ended."""
    manifest = Path(lake.root) / CANDLES / "symbol=EURUSD" / "timeframe=15m" / "manifest.json"
    while child.poll() is None and b'"writing"' not in manifest.read_bytes():
        time.sleep(0.0005)


def _check(lake: Lake, rows: set[bytes]) -> LakeReport:
    """Show that the lake is valid and that all its bars are bars of the files."""
    report = check_lake(lake, "EURUSD")
    assert report.problems == []
    assert set(_bars(lake)) <= rows
    return report


def _bars(lake: Lake) -> list[bytes]:
    table = lake.read(CANDLES, KEYS)
    columns = [table["ts_utc"].to_numpy().astype(np.int64).view(np.float64)]
    columns += [table[name].to_numpy() for name in ("open", "high", "low", "close", "volume")]
    return [row.tobytes() for row in np.column_stack(columns)]


def _fresh(root: Path, early: Path) -> Lake:
    shutil.rmtree(root, ignore_errors=True)
    lake = Lake(root)
    import_file(lake, early, tz="UTC")
    return lake


def test_an_import_killed_between_its_writes_is_finished_by_the_next(
    files: tuple[Path, Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    whole, early = files
    import_file(Lake(tmp_path / "whole"), whole, tz="UTC")
    rows, lake = set(_bars(Lake(tmp_path / "whole"))), _fresh(tmp_path / "lake", early)
    for renames in np.random.default_rng(20240102).integers(2, 7, size=3):
        child = _start(lake, whole, int(renames))
        assert child.wait(60) == -signal.SIGKILL
        report = _check(lake, rows)
        assert any("an import of EURUSD_mid.csv" in note for note in report.notes)
    import_file(lake, whole, tz="UTC")
    assert _check(lake, rows).notes == []
    assert _content(lake) == undisturbed


@pytest.mark.deep
def test_an_import_killed_at_any_moment_fifty_times_is_finished_by_the_next(
    files: tuple[Path, Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    whole, early = files
    import_file(Lake(tmp_path / "whole"), whole, tz="UTC")
    rows, generator = set(_bars(Lake(tmp_path / "whole"))), np.random.default_rng(20240103)
    child, started = _start(_fresh(tmp_path / "lake", early), whole, 0), time.monotonic()
    assert child.wait(60) == 0
    seconds, kills, in_the_middle = time.monotonic() - started, 0, 0
    while kills < 50:
        lake = _fresh(tmp_path / "lake", early)
        for _ in range(int(generator.integers(1, 4))):  # one kill on top of another
            child = _start(lake, whole, 0)
            if generator.random() < 0.5:
                time.sleep(seconds * generator.uniform(0.2, 1.0))
            else:  # anywhere within the writing, which is short on a fast disk
                _await_writing(lake, child)
                time.sleep(generator.uniform(0.0, 0.02))
            child.kill()
            kills += child.wait(60) == -signal.SIGKILL
            in_the_middle += any("an import of" in note for note in _check(lake, rows).notes)
        if generator.random() < 0.5:
            lake.storage.sweep()
        import_file(lake, whole, tz="UTC")
        assert _content(lake) == undisturbed
    print(f"{kills} kills, {in_the_middle} of them while months were being written")
    assert in_the_middle >= 5


def test_a_first_import_killed_before_anything_was_written_leaves_no_bars(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    lake = Lake(tmp_path)
    assert _start(lake, files[0], 1).wait(60) == -signal.SIGKILL
    with pytest.raises(DataError, match="no bars"):
        check_lake(lake)
