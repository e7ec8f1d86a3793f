"""What is stored is compared with what would be computed: a changed bit is named, what is merely old is noted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from fxgpt_core.features.checks.stored import check_stored
from fxgpt_core.features.stored import FEATURES, TARGETS
from fxgpt_core.market.bars import CANDLES
from fxgpt_core.market.lake import Lake
from tests.features.stored_lake import CANDLES as BARS
from tests.features.stored_lake import HORIZONS, LAYOUT, SPEC, store

SYMBOL = "GBPUSD"


def keys(code: str) -> Mapping[str, str]:
    return {"symbol": SYMBOL, "timeframe": code}


def change(lake: Lake, dataset: str, code: str, part: str, column: str, row: int) -> None:
    """Change one stored number by a little."""
    table = lake.read(dataset, keys(code), [part])
    values = table[column].to_numpy().copy()
    values[row] *= 1.0001
    index = table.column_names.index(column)
    lake.write(dataset, keys(code), part, table.set_column(index, column, pa.array(values)))


def test_what_is_stored_is_what_would_be_computed(lake: Lake) -> None:
    report = check_stored(lake, SYMBOL, LAYOUT, HORIZONS, SPEC, sampled=2)
    assert report.passed, report.differences
    assert report.notes == []
    assert report.months == 2 * (2 + 3 + 1)  # derived bars, features of three timeframes, targets
    assert report.values > 10_000
    assert report.sentence.startswith("All ")


@pytest.mark.parametrize(
    ("dataset", "code", "column", "named"),
    [
        (FEATURES, "4h", "rsi_4h_14", "rsi_4h_14"),
        (TARGETS, "1h", "yardstick_240", "yardstick_240"),
        (TARGETS, "1h", "target_60", "target_60"),
        (CANDLES, "1d", "volume", "bars_1d volume"),
    ],
)
def test_a_changed_number_is_named(lake: Lake, dataset: str, code: str, column: str, named: str) -> None:
    change(lake, dataset, code, "month=2024-03", column, 7)
    report = check_stored(lake, SYMBOL, LAYOUT, HORIZONS, SPEC)
    difference = next(found for found in report.differences if found.what == named)
    assert difference.rows == 1
    assert difference.cut.kind == "the stored month 2024-03"
    assert not report.passed
    assert "materialise" in report.sentence


def test_only_sampled_months_are_read(lake: Lake) -> None:
    change(lake, FEATURES, "1h", "month=2024-02", "rsi_1h_14", 7)
    assert check_stored(lake, SYMBOL, LAYOUT, HORIZONS, SPEC, sampled=2).passed  # the first and the last
    assert not check_stored(lake, SYMBOL, LAYOUT, HORIZONS, SPEC, sampled=3).passed


def test_what_is_older_than_its_bars_is_noted(lake: Lake) -> None:
    store(lake, BARS)
    report = check_stored(lake, SYMBOL, LAYOUT, HORIZONS, SPEC)
    assert report.passed
    assert any("features of GBPUSD 1h: 2 months are older" in note for note in report.notes)
    assert any("targets of GBPUSD 1h are older" in note for note in report.notes)


def test_another_definition_is_noted(lake: Lake) -> None:
    other = SPEC.model_copy(update={"parameters": {"rsi": {"period": 21}}})
    report = check_stored(lake, SYMBOL, LAYOUT, HORIZONS, other)
    assert report.passed
    assert sum("of another configuration" in note for note in report.notes) == 3


def test_nothing_stored_is_said(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    store(lake, BARS.take(slice(0, 600)))
    report = check_stored(lake, SYMBOL, LAYOUT, HORIZONS, SPEC)
    assert report.passed
    assert sum("not stored yet" in note for note in report.notes) == 4
