"""Columns that are odd in a month are named and stored as they are."""

import logging
from pathlib import Path

import numpy as np
import pytest

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features import registry
from fxgpt_core.features.bars import Bars
from fxgpt_core.features.blocks import compute_table
from fxgpt_core.features.condition import month_condition
from fxgpt_core.features.coverage import Coverage
from fxgpt_core.features.registry import Indicator
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.features.stored import FeaturesSummary, read_table, update_tables
from fxgpt_core.market.bars import Source, store_given
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.history import update_candles
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.market.quality.assessment import assess

LAYOUT = (TIMEFRAMES["1h"],)
SPEC = FeatureSpec(groups=("ohlc",))
CANDLES = simulate("GBPUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=1500, seed=3)
_MONTHS = CANDLES.known_at.astype("datetime64[M]")
FEBRUARY = np.datetime64("2024-02", "M")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake")
    store_given(made, CANDLES, assess(CANDLES.to_frame().reset_index(), "GBPUSD", "1h"), Source("x", "x", {}))
    update_candles(made, "GBPUSD", LAYOUT, "import", QualityConfig())
    return made


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(bars: Bars) -> dict[tuple[str], np.ndarray]:
        """Return columns that are well but in February or March."""
        month = bars.known_at.astype("datetime64[M]")
        plain = np.sin(np.arange(len(bars)))
        february, march = month == np.datetime64("2024-02"), month == np.datetime64("2024-03")
        return {
            ("gone",): np.where(february, np.nan, plain),
            ("stuck",): np.where(march, 0.25, plain),
            ("wild",): np.where(february & (plain > 0.9), 1e9, plain),
            ("endless",): np.where(march & (plain > 0.99), np.inf, plain),
            ("huge",): np.where(march & (plain > 0.9), -1e200, plain),
            ("fine",): plain,
        }

    known = {**registry.indicators(), "odd": Indicator("odd", "ohlc", "planted", odd, lambda p: 0)}
    monkeypatch.setattr(registry, "_INDICATORS", known)


def conditions(summary: FeaturesSummary) -> dict[str, dict[str, int]]:
    return {one.column: dict(one.odd_months) for one in summary.odd}


def test_missing_constant_and_explosive_months_are_named_and_stored_as_they_are(
    lake: Lake, planted: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        summary = update_tables(lake, "GBPUSD", LAYOUT, SPEC)
    found = conditions(summary)
    assert found["gone_1h"] == {"all missing": 1}
    assert found["stuck_1h"] == {"constant": 1}
    assert found["wild_1h"] == {"explosive": 1}
    assert found["endless_1h"] == {"infinite": 1}
    assert found["huge_1h"] == {"infinite": 1}  # more than a float32 holds
    assert "fine_1h" not in found
    assert "gone_1h is all missing in 1 of 3 months" in caplog.text
    share = {one.column: one.missing_share for one in summary.conditions}
    assert share["gone_1h"] == pytest.approx((_MONTHS == FEBRUARY).mean())
    stored = read_table(lake, "GBPUSD", LAYOUT[0], SPEC.definition_hash(LAYOUT[0]))
    assert stored.values[:, stored.names.index("wild_1h")].max() == np.float32(1e9)


def test_what_was_found_in_kept_months_is_still_known(lake: Lake, planted: None) -> None:
    first = update_tables(lake, "GBPUSD", LAYOUT, SPEC)
    again = update_tables(lake, "GBPUSD", LAYOUT, SPEC)
    assert again.computed == {"1h": 0}
    assert conditions(again) == conditions(first)


def test_columns_that_look_well_at_a_glance_would_be_judged_well() -> None:
    table = compute_table(simulate("GBPUSD", "5m", start=CANDLES.ts_utc[0], bars=9000, seed=4), FeatureSpec())
    block = table.take(slice(2000, 6000))
    found = month_condition(block)["odd"]
    judged = Coverage.of(block.values)
    assert set(found) == {block.names[i] for i in {**judged.dropped, **judged.suspect}}
    assert found
