"""`fxgpt check leakage` and `check recursive`: what they say of a clean home, and of one with a fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fxgpt_core.features import registry
from fxgpt_core.features.bars import Bars
from fxgpt_core.features.registry import Columns, Indicator
from fxgpt_core.features.rolling import ewma
from fxgpt_core.features.stored import FEATURES, update_tables, update_targets
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.history import update_candles
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.workspace import Workspace


@pytest.fixture
def lineage(home: Path) -> Lineage:
    """The shipped sample with its features, without a run."""
    config = home.parent / "configs" / "features" / "default.yaml"
    config.write_text("groups: [ohlc]\n")
    found = Workspace.from_environment().lineage("EURUSD")
    lake, layout = found.workspace.lake, found.timeframes
    update_candles(lake, "EURUSD", layout, "sample", QualityConfig())
    update_tables(lake, "EURUSD", layout, found.spec)
    update_targets(lake, "EURUSD", layout, found.horizons, found.spec)
    return found


def plant(monkeypatch: pytest.MonkeyPatch, function: Callable[[Bars], Columns]) -> None:
    made = Indicator("planted", "ohlc", "a fault", function, lambda p: 0)
    monkeypatch.setattr(registry, "_INDICATORS", {**registry.indicators(), "planted": made})


def centred(bars: Bars) -> Columns:
    """A mean over bars to come."""
    return {("centred",): np.convolve(bars.close, np.ones(5) / 5, mode="same") / bars.close}


def endless(bars: Bars) -> Columns:
    """An average that hardly forgets."""
    return {("endless",): ewma(bars.log_range, 1000.0)}


def test_without_bars_it_says_what_to_do(fxgpt: Callable[..., Any]) -> None:
    for verb in ("leakage", "recursive"):
        answer = fxgpt("check", verb)
        assert answer.code == 2
        assert "fxgpt import" in answer.err
    named = fxgpt("check", "leakage", "EURUSD")
    assert named.code == 1
    assert "EURUSD has no 1h candles" in named.err


def test_an_unknown_symbol_is_refused(fxgpt: Callable[..., Any]) -> None:
    assert fxgpt("check", "leakage", "XXXYYY").code == 2


@pytest.mark.usefixtures("lineage")
def test_clean_features_pass(fxgpt: Callable[..., Any]) -> None:
    answer = fxgpt("check", "leakage", "--cuts", 5)
    assert answer.code == 0
    assert "None of" in answer.out
    assert "stored values" in answer.out
    assert "1 of 1 symbols passed." in answer.out
    found = fxgpt("check", "leakage", "eur/usd", "--cuts", 5, "--seed", 4, "--exhaustive", "--json").json()
    assert found["passed"]
    (symbol,) = found["symbols"]
    assert symbol["seed"] == 4
    assert len(symbol["cuts"]) == 5
    assert symbol["stored"]["months"] == 18
    assert {"at", "kind"} == set(symbol["cuts"][0])


@pytest.mark.usefixtures("lineage")
def test_a_leak_is_named_with_the_kind_of_cut(fxgpt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, centred)
    answer = fxgpt("check", "leakage", "--cuts", 5)
    assert answer.code == 1
    assert "centred_1h" in answer.out
    assert "kind of cut" in answer.out
    assert "close_close_1h" not in answer.out
    assert "0 of 1 symbols passed." in answer.out
    assert "of another configuration" in answer.err  # what is stored does not have that column
    leaks = fxgpt("check", "leakage", "--cuts", 5, "--json").json()["symbols"][0]["leaks"]
    leak = next(leak for leak in leaks if leak["what"] == "centred_1h")
    assert leak["rows"] == 2
    assert leak["kind"]
    assert leak["first"] <= leak["cut"]


def test_stored_columns_that_differ_fail(fxgpt: Callable[..., Any], lineage: Lineage) -> None:
    lake, keys = lineage.workspace.lake, {"symbol": "EURUSD", "timeframe": "1h"}
    part = max(lake.parts(FEATURES, keys))
    table = lake.read(FEATURES, keys, [part])
    values = table["close_close_1h"].to_numpy().copy()
    values[3] += 1e-6
    index = table.column_names.index("close_close_1h")
    lake.write(FEATURES, keys, part, table.set_column(index, "close_close_1h", pa.array(values)))
    answer = fxgpt("check", "leakage", "--cuts", 2)
    assert answer.code == 1
    assert "close_close_1h" in answer.out
    assert part.removeprefix("month=") in answer.out


@pytest.mark.usefixtures("lineage")
def test_warm_up_that_does_not_suffice_is_named(fxgpt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    answer = fxgpt("check", "recursive", "--months", 2)
    assert answer.code == 0
    assert "None of" in answer.out
    plant(monkeypatch, endless)
    answer = fxgpt("check", "recursive", "--months", 2)
    assert answer.code == 1
    assert "endless_1h" in answer.out
    (symbol,) = fxgpt("check", "recursive", "EURUSD", "--months", 2, "--json").json()["symbols"]
    assert [found["column"] for found in symbol["found"]] == ["endless_1h"]
    assert symbol["found"][0]["size"] > 1e-6
