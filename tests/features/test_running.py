"""Tables kept running are, bit for bit, those computed at once."""

from dataclasses import replace

import numpy as np
import pytest

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.assemble import build_dataset, candles_by_timeframe
from fxgpt_core.features.bars import Bars
from fxgpt_core.features.blocks import Blocks
from fxgpt_core.features.registry import Indicator
from fxgpt_core.features.running import RunningTables
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

LAYOUT = tuple(TIMEFRAMES[code] for code in ("1h", "4h", "1d"))
SPEC = FeatureSpec()
CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=1400, seed=8)


def same(tables: dict[str, object], candles: Candles) -> None:
    whole = build_dataset(candles, LAYOUT, (60,), SPEC)
    for code, table in whole.tables.items():
        np.testing.assert_array_equal(tables[code].values, table.values)  # type: ignore[attr-defined]
        assert tables[code].definition_hash == table.definition_hash  # type: ignore[attr-defined]


def test_bar_by_bar_gives_what_all_at_once_gives() -> None:
    tables = RunningTables(LAYOUT, SPEC)
    for known in (30, 700, 701, 702, 760, 1100, 1101, 1399, 1400):  # past months' ends, and more than there is room for
        part = CANDLES.take(slice(0, known))
        same(tables.update(candles_by_timeframe(part, LAYOUT)), part)


def test_corrected_bars_are_computed_again() -> None:
    tables = RunningTables(LAYOUT, SPEC)
    tables.update(candles_by_timeframe(CANDLES, LAYOUT))
    close = CANDLES.close.copy()
    close[900] = (CANDLES.high[900] + CANDLES.low[900]) / 2
    mended = Candles(
        "EURUSD", CANDLES.timeframe, "mid", CANDLES.ts_utc, CANDLES.open, CANDLES.high, CANDLES.low, close,
        CANDLES.volume, CANDLES.spread,
    )  # fmt: skip
    same(tables.update(candles_by_timeframe(mended, LAYOUT)), mended)


def test_a_slower_bar_that_is_corrected_or_late_changes_what_reads_it() -> None:
    tables, by_code = RunningTables(LAYOUT, SPEC), candles_by_timeframe(CANDLES, LAYOUT)
    slow = by_code["4h"]
    tables.update({**by_code, "4h": slow.take(slice(0, len(slow) - 3))})  # three of them come later than their hours
    close = slow.close.copy()
    for given in (slow, replace(slow, close=np.r_[close[:100], slow.low[100], close[101:]])):
        now = {**by_code, "4h": given}
        whole = build_dataset(now, LAYOUT, (60,), SPEC)
        found = tables.update(now)
        for code, table in whole.tables.items():
            np.testing.assert_array_equal(found[code].values, table.values)


def test_a_new_bar_computes_its_own_row_and_learns_once_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = RunningTables(LAYOUT[:1], SPEC)
    tables.update({"1h": CANDLES.take(slice(0, 1399))})
    computed, looked_at, fitted = [], {}, []
    real, learn, compute = Blocks.compute, Indicator.learn, Indicator.compute

    def counted(self: Blocks, rows: slice, *more: object) -> object:
        values, names = real(self, rows, *more)  # type: ignore[arg-type]
        computed.append((rows.stop, len(values)))
        return values, names

    def learning(self: Indicator, *arguments: object) -> object:
        fitted.append(self.name)
        return learn(self, *arguments)  # type: ignore[arg-type]

    def computing(self: Indicator, bars: Bars, *more: object) -> object:
        looked_at[self.name] = len(bars)
        return compute(self, bars, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Blocks, "compute", counted)
    monkeypatch.setattr(Indicator, "learn", learning)
    monkeypatch.setattr(Indicator, "compute", computing)
    tables.update({"1h": CANDLES})
    assert computed == [(1400, 1)]
    assert not fitted
    assert looked_at["volume_profile"] == 513
    assert looked_at["rsi"] > 513  # recursive: from the month's anchor on
