"""`fxgpt import` and `fxgpt check data`: bad files are said and do not stop good ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HEAD = "time,open,high,low,close,volume\n"


def bars(first: int = 0, count: int = 48) -> str:
    """Hourly bars of Tuesday and Wednesday 2024-03-05/06 with UTC stamps."""
    rows = []
    for index in range(first, first + count):
        price = 1.25 + 0.0001 * index
        stamp = f"2024-03-{5 + index // 24:02d}T{index % 24:02d}:00:00Z"
        rows.append(f"{stamp},{price:.5f},{price + 0.0005:.5f},{price - 0.0005:.5f},{price + 0.0001:.5f},{100 + index}")
    return "\n".join(rows) + "\n"


def contents(root: Path) -> dict[str, str]:
    files = (file for file in root.rglob("*") if file.is_file() and ".locks" not in file.parts)
    return {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "GBPUSD_1h.csv"
    path.write_text(HEAD + bars())
    return path


def test_import_says_what_it_recognised_and_what_to_do_next(fxgpt: Callable[..., Any], good: Path) -> None:
    answer = fxgpt("import", good)
    assert answer.code == 0, answer.err
    assert "GBPUSD 1h, 48 of 48 rows" in answer.out
    assert "UTC" in answer.out
    assert "decimal, prices 1.2495 to 1.2552" in answer.out
    assert "Next: fxgpt assets add GBPUSD --timeframes 1h,4h,1d" in answer.out
    checked = fxgpt("check", "data", "gbp/usd", "--json")
    assert checked.code == 0
    assert checked.json() == {"bars": {"GBPUSD": {"1h": 48}}, "tables": {}, "problems": [], "notes": []}


def test_again_changes_nothing(fxgpt: Callable[..., Any], good: Path, home: Path) -> None:
    fxgpt("import", good)
    before = contents(home / "lake")
    answer = fxgpt("import", good, "--json").json()
    assert answer["imported"][0]["rows_changed"] == 0
    assert contents(home / "lake") == before


def test_bad_rows_are_quarantined_and_counted(fxgpt: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "GBPUSD.csv"
    bad = (
        "2024-03-07T00:00:00Z,1.2,1.1,1.3,1.2,5\n"
        "2024-03-07T01:00:00Z,-1.2,1.3,1.1,1.2,5\n"
        "2024-03-07T02:00:00Z,abc,1.3,1.1,1.2,5\n"
    )
    path.write_text(HEAD + bars(24, 24) + bars(0, 24) + bars(3, 1) + bad)
    made = fxgpt("import", path, "--timeframe", "1h", "--json")
    assert made.code == 0, made.err
    result = made.json()["imported"][0]
    assert result["rows_read"] == 52
    assert result["rows_imported"] == 48
    assert sum(result["quarantined"].values()) == 4
    assert result["unsorted"] > 0
    assert "quarantine" in fxgpt("import", path, "--timeframe", "1h").out


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x01\x02PK\x03\x04" * 50,
        (HEAD.replace(",", "|") + bars().replace(",", "|")).encode(),
        b"words\nonly\n",
    ],
    ids=["empty", "binary", "wrong delimiter", "no table"],
)
def test_unusable_file_is_one_sentence_and_leaves_the_lake(
    fxgpt: Callable[..., Any], tmp_path: Path, good: Path, home: Path, content: bytes
) -> None:
    fxgpt("import", good)
    before = contents(home / "lake")
    path = tmp_path / "EURUSD.csv"
    path.write_bytes(content)
    answer = fxgpt("import", path)
    assert answer.code == 2
    assert str(path) in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert contents(home / "lake") == before


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--tz", "Europe/Londn"], "Europe/Londn"),
        (["--symbol", "GBPUDS"], "UDS is not a known currency"),
        (["--timeframe", "7m"], "Unknown timeframe"),
        (["--side", "middle"], "middle"),
        (["--layout", "cvs"], "cvs"),
    ],
)
def test_wrong_option_is_refused(
    fxgpt: Callable[..., Any], good: Path, home: Path, arguments: list[str], part: str
) -> None:
    answer = fxgpt("import", good, *arguments)
    assert answer.code == 2
    assert part in answer.err
    assert contents(home) == {}


def test_bad_file_does_not_stop_the_good_one(fxgpt: Callable[..., Any], good: Path, tmp_path: Path) -> None:
    answer = fxgpt("import", tmp_path / "absent.csv", good)
    assert answer.code == 1
    assert "absent.csv" in answer.err
    assert "48 of 48 rows" in answer.out


def test_damage_in_the_lake_is_found(fxgpt: Callable[..., Any], good: Path, home: Path) -> None:
    assert fxgpt("check", "data", "GBPUSD").code == 2
    fxgpt("import", good)
    part = next((home / "lake" / "candles").rglob("part.parquet"))
    import pyarrow.parquet as pq

    table = pq.read_table(part)
    pq.write_table(table.slice(0, 40), part)
    changed = fxgpt("check", "data", "GBPUSD")
    assert changed.code == 1
    assert "content differs from its manifest" in changed.err
    part.write_bytes(b"not parquet")
    broken = fxgpt("check", "data", "GBPUSD", "--json")
    assert broken.code == 1
    assert "cannot be read" in broken.json()["problems"][0]
