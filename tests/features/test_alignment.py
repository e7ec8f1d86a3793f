"""Joining timeframes: as of the close, never of the open."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.alignment import flat, last_known
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-02-27T00:00", "ns"), bars=700, seed=5)
LAYOUT = tuple(TIMEFRAMES[c] for c in ("1h", "4h", "1d"))
DATASET = build_dataset(CANDLES, LAYOUT, (60, 240))


@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=40, unique=True),
    st.lists(st.integers(0, 200), max_size=20, unique=True),
)
def test_the_last_known_row_is_the_latest_that_closed_by_then(base: list[int], slower: list[int]) -> None:
    stamps = [np.array(sorted(x), dtype="datetime64[ns]") for x in (base, slower)]
    for moment, row in zip(stamps[0], last_known(*stamps), strict=True):
        closed = [i for i, known in enumerate(stamps[1]) if known <= moment]
        assert row == (closed[-1] if closed else -1)


def test_a_slower_bar_is_used_from_its_close_on() -> None:
    for index, bar in enumerate(LAYOUT):
        table, rows = DATASET.tables[bar.code], DATASET.last_known[:, index]
        seen = rows >= 0
        assert (table.known_at[rows[seen]] <= DATASET.known_at[seen]).all()
        following = seen & (rows + 1 < len(table))
        assert (table.known_at[rows[following] + 1] > DATASET.known_at[following]).all()
    np.testing.assert_array_equal(DATASET.last_known[:, 0], np.arange(len(DATASET)))


def test_daily_bars_close_at_seventeen_new_york_on_both_sides_of_the_clock_change() -> None:
    closes = DATASET.tables["1d"].known_at
    hours = {str(c.astype("datetime64[D]")): int((c.astype("datetime64[h]").astype(int)) % 24) for c in closes}
    assert hours["2024-03-08"] == 22  # New York on winter time
    assert hours["2024-03-12"] == 21  # a weekend later on summer time


def test_flat_takes_each_timeframes_last_known_row() -> None:
    rows = np.array([0, 30, 400])
    values, names = flat(DATASET, rows)
    assert values.dtype == np.float32
    assert len(names) == len(set(names)) == values.shape[1]
    column = names.index("rsi_4h_14")
    table = DATASET.tables["4h"]
    at = DATASET.last_known[400, 1]
    assert values[2, column] == table.values[at, table.names.index("rsi_4h_14")]
    assert np.isnan(values[0, names.index("close_close_1d")])  # no daily bar has closed yet


def test_rows_outside_are_refused() -> None:
    with pytest.raises(DataError, match="700"):
        flat(DATASET, np.array([700]))


@pytest.mark.parametrize(("codes", "horizons"), [(("4h", "1h"), (60,)), (("1h",), (90,)), (("1h",), ()), ((), (60,))])
def test_layouts_that_do_not_fit_are_refused(codes: tuple[str, ...], horizons: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError):
        build_dataset(CANDLES, [TIMEFRAMES[c] for c in codes], horizons)


def test_given_slower_candles_are_used_as_they_are() -> None:
    daily = simulate("EURUSD", "1d", start=np.datetime64("2024-02-27T00:00", "ns"), bars=30, seed=9)
    built = build_dataset({"1h": CANDLES, "1d": daily}, (LAYOUT[0], LAYOUT[2]), (60,))
    np.testing.assert_array_equal(built.tables["1d"].ts_utc, daily.ts_utc)
