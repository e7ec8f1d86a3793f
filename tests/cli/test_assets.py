"""`fxgpt assets`: adding a pair is writing one file, and an existing one is never touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fxgpt_core.store.asset_files import load_assets


def test_added_asset_is_listed_and_shown(fxgpt: Callable[..., Any], home: Path) -> None:
    added = fxgpt("assets", "add", "gbp/usd", "--spread-pips", "1.4", "--side", "bid")
    assert added.code == 0, added.err
    assert "fxgpt import FILE --symbol GBPUSD" in added.out
    made = load_assets(home.parent / "configs")["GBPUSD"]
    assert made.timeframes == ("5m", "15m", "1h", "4h")
    assert made.horizon_minutes == (5, 15, 60, 240)
    assert (made.costs.spread_pips, made.price_side, made.source) == (1.4, "bid", "import")
    listed = fxgpt("assets", "list", "--json").json()
    assert [asset["symbol"] for asset in listed] == ["EURUSD", "GBPUSD"]
    assert "GBPUSD" in fxgpt("assets", "list").out
    assert fxgpt("assets", "show", "GBPUSD", "--json").json()["horizons"] == ["5m", "15m", "1h", "4h"]
    assert "retraining_cron: 0 22 * * *" in fxgpt("assets", "show", "GBPUSD").out


def test_existing_asset_is_refused_and_kept(fxgpt: Callable[..., Any], home: Path) -> None:
    path = home.parent / "configs" / "assets" / "EURUSD.yaml"
    before = path.read_text()
    again = fxgpt("assets", "add", "EURUSD")
    assert again.code == 2
    assert again.err == f"Error: EURUSD is configured already: edit {path}.\n"
    assert path.read_text() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["EURUSD.yaml"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["GBPUDS"], "UDS is not a known currency"),
        (["GBP"], "six letters"),
        (["GBPUSD", "--timeframes", "7m"], "Unknown timeframe '7m'"),
        (["GBPUSD", "--timeframes", "1h", "--horizons", "5m"], "horizon 5m is not a whole number of bars"),
        (["GBPUSD", "--timeframes", ","], "at least 1"),
        (["GBPUSD", "--side", "middle"], "'mid', 'bid' or 'ask'"),
        (["GBPUSD", "--spread-pips", "-1"], "costs.spread_pips is -1.0, but must be > 0"),
        (["GBPUSD", "--source", "sample"], "use --source import"),
    ],
)
def test_wrong_asset_is_refused_and_nothing_is_written(
    fxgpt: Callable[..., Any], home: Path, arguments: list[str], part: str
) -> None:
    answer = fxgpt("assets", "add", *arguments)
    assert answer.code == 2
    assert part in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert list(load_assets(home.parent / "configs")) == ["EURUSD"]


def test_misspelt_key_in_a_file_names_file_and_key(fxgpt: Callable[..., Any], home: Path) -> None:
    path = home.parent / "configs" / "assets" / "EURUSD.yaml"
    path.write_text(path.read_text().replace("horizons:", "horizon:"))
    answer = fxgpt("assets", "list")
    assert answer.code == 2
    assert answer.err.startswith(f"Error: {path}: ")
    assert "unknown key 'horizon'; did you mean 'horizons'?" in answer.err
