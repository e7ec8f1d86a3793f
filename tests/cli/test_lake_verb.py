"""`fxgpt check data` over all symbols, `fxgpt lake rebuild` and `fxgpt lake compact`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HEAD = "time,open,high,low,close,volume\n"


@pytest.fixture
def two(fxgpt: Callable[..., Any], tmp_path: Path) -> None:
    """Import two days of hours of two pairs."""
    rows = [f"2024-01-{day:02d} {hour:02d}:00,1.1,1.2,1.0,1.1,5" for day in (3, 4) for hour in range(24)]
    for symbol in ("EURUSD", "GBPUSD"):
        path = tmp_path / f"{symbol}_mid.csv"
        path.write_text(HEAD + "\n".join(rows) + "\n")
        assert fxgpt("import", path, "--tz", "UTC").code == 0


def test_all_symbols_are_checked_when_none_is_named(fxgpt: Callable[..., Any], two: None, home: Path) -> None:
    checked = fxgpt("check", "data", "--json")
    assert checked.code == 0
    bars = {"EURUSD": {"1h": 48}, "GBPUSD": {"1h": 48}}
    assert checked.json() == {"bars": bars, "tables": {}, "problems": [], "notes": []}
    next((home / "lake/candles/symbol=GBPUSD").rglob("part.parquet")).unlink()
    said = fxgpt("check", "data")
    assert said.code == 1
    assert "Error: GBPUSD 1h month=2024-01: in the manifest but not in the lake" in said.err
    assert fxgpt("check", "data", "EURUSD").code == 0


def test_an_empty_lake_is_bad_input(fxgpt: Callable[..., Any]) -> None:
    said = fxgpt("check", "data")
    assert said.code == 2
    assert "holds no bars" in said.err


def test_rebuild_accepts_bars_whose_manifest_has_gone(fxgpt: Callable[..., Any], two: None, home: Path) -> None:
    (home / "lake/candles/symbol=GBPUSD/timeframe=1h/manifest.json").unlink()
    assert "fxgpt lake rebuild GBPUSD 1h" in fxgpt("check", "data").err
    assert "say --side" in fxgpt("lake", "rebuild", "GBPUSD", "1h").err
    assert "48 mid bars in 1 months" in fxgpt("lake", "rebuild", "gbp/usd", "1h", "--side", "mid").out
    assert fxgpt("check", "data").code == 0
    assert fxgpt("lake", "rebuild", "GBPUSD", "1h", "--json").json()["rows"] == 48


def test_compact_removes_leftovers_and_idle_locks(fxgpt: Callable[..., Any], two: None, home: Path) -> None:
    leftover = home / "lake/candles/symbol=EURUSD/timeframe=1h/month=2024-01/.part.parquet.tmp"
    leftover.write_bytes(b"half")
    assert "Note: 1 temporary files" in fxgpt("check", "data").err
    answer = fxgpt("lake", "compact", "--json").json()
    assert answer["leftovers"] == [str(leftover.relative_to(home / "lake"))]
    assert answer["locks"] > 0
    assert not leftover.exists()
    assert not list((home / "lake/.locks").rglob("*.lock"))
    assert fxgpt("lake", "compact").out.endswith("0 leftovers and 0 idle locks removed.\n")
    assert fxgpt("check", "data").code == 0


def test_a_lake_on_objects_is_imported_to_and_checked(
    fxgpt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("FXGPT_LAKE", f"memory://{tmp_path.name}/lake")
    request.getfixturevalue("two")
    assert fxgpt("check", "data", "--json").json()["bars"] == {"EURUSD": {"1h": 48}, "GBPUSD": {"1h": 48}}
    assert "memory://" in fxgpt("lake", "compact").out
