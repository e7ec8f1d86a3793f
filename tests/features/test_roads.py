"""The long, the monthly, the live and the checking road give the same bits, whatever months and features are asked."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.assemble import build_dataset, candles_by_timeframe
from fxgpt_core.features.bars import Releases
from fxgpt_core.features.blocks import compute_block, compute_table, months
from fxgpt_core.features.checks.road import Layout, Road
from fxgpt_core.features.registry import indicators
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.features.steps import PRODUCT
from fxgpt_core.features.surroundings import surroundings
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.providers.simulator import simulate

LAYOUT = tuple(TIMEFRAMES[c] for c in ("1h", "4h", "1d"))
HORIZONS = (60, 240)
CANDLES = simulate("GBPUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=2600, seed=5)
BY_CODE = candles_by_timeframe(CANDLES, LAYOUT)
RNG = np.random.default_rng(0)
RELEASES = Releases(
    np.sort(CANDLES.ts_utc[0] + RNG.integers(0, 200 * 24 * 60, 600) * np.timedelta64(60, "s")),
    RNG.random(600) < 0.5,
    RNG.integers(0, 3, 600).astype(np.int8),
    np.full(600, np.datetime64("NaT", "ns")),
)
ALL = tuple(indicators())


def features(names: list[str]) -> FeatureSpec:
    """Return a specification of exactly these indicators."""
    return FeatureSpec(groups=(), indicators=dict.fromkeys(names, "all"))


some_features = st.lists(st.sampled_from(ALL), min_size=1, max_size=4, unique=True).map(features)
some_code = st.sampled_from([bar.code for bar in LAYOUT])


@settings(max_examples=25, deadline=None)
@given(some_features, st.integers(400, len(CANDLES)), some_code, st.data())
def test_all_roads_agree_bit_for_bit(spec: FeatureSpec, stop: int, code: str, data: st.DataObject) -> None:
    bars, around = BY_CODE[code], surroundings(BY_CODE, code, RELEASES)
    long = compute_table(bars, spec, around)
    ends = list(months(bars))
    month, rows = ends[data.draw(st.integers(0, len(ends) - 1), label="month")]
    same(compute_block(bars, month, spec, around), long.take(rows))

    shorter = CANDLES.take(slice(0, stop))
    live = build_dataset(shorter, LAYOUT, HORIZONS, spec, RELEASES)
    known = len(live.tables[code])
    same(live.tables[code], long.take(slice(0, known)))

    road = Road(shorter, Layout(LAYOUT, HORIZONS, spec, RELEASES, PRODUCT))
    seen = road.known(max(0, stop - 64), stop)
    checked = seen.tables[code]
    first = int(np.searchsorted(long.ts_utc, checked.ts_utc[0]))
    same(checked, long.take(slice(first, first + len(checked))))
    assert first + len(checked) == known
    everything = road.everything()
    for name in ("yardstick", "target", "label_end", "mask"):
        np.testing.assert_array_equal(getattr(seen.targets, name), getattr(everything.targets, name))
    for slower, closes in seen.joined.items():
        np.testing.assert_array_equal(closes, everything.joined[slower])


@settings(max_examples=15, deadline=None)
@given(some_features, some_code, st.randoms(use_true_random=False))
def test_a_month_does_not_depend_on_which_months_were_computed(spec: FeatureSpec, code: str, random: object) -> None:
    bars, around = BY_CODE[code], surroundings(BY_CODE, code, RELEASES)
    order = [month for month, _ in months(bars)]
    alone = {month: compute_block(bars, month, spec, around) for month in order}
    random.shuffle(order)  # type: ignore[attr-defined]
    for month in order[: len(order) // 2 + 1]:
        same(compute_block(bars, month, spec, around), alone[month])


@settings(max_examples=10, deadline=None)
@given(some_features, st.sampled_from(ALL))
def test_a_feature_does_not_depend_on_which_others_are_on(spec: FeatureSpec, name: str) -> None:
    together = features([*spec.indicators, *([] if name in spec.indicators else [name])])
    around = surroundings(BY_CODE, "1h", RELEASES)
    alone = compute_table(BY_CODE["1h"], features([name]), around)
    whole = compute_table(BY_CODE["1h"], together, around)
    columns = [whole.names.index(column) for column in alone.names]
    np.testing.assert_array_equal(whole.values[:, columns], alone.values)


def same(left: FeatureTable, right: FeatureTable) -> None:
    """Demand equal bits, missing where missing."""
    assert left.names == right.names
    np.testing.assert_array_equal(left.ts_utc, right.ts_utc)
    np.testing.assert_array_equal(left.values, right.values)
