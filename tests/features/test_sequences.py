"""Windows as indices: what a plain loop over closing times finds, without copies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.augmentation import AugmentationConfig, noisy, shifts
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.sequences import LookbackConfig, Window, lookbacks, sequences
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

SPEC = FeatureSpec(groups=("ohlc",))
LAYOUT = tuple(TIMEFRAMES[c] for c in ("1h", "4h", "1d"))


def holes(candles: Candles, seed: int) -> Candles:
    """Return the bars without some single ones and a whole day."""
    rng = np.random.default_rng(seed)
    keep = rng.random(len(candles)) > 0.05
    keep[200:224] = False
    return candles.take(np.flatnonzero(keep))


def built(seed: int) -> Dataset:
    bars = simulate("EURUSD", "1h", start=np.datetime64("2024-02-27T00:00", "ns"), bars=600, seed=seed)
    return build_dataset(holes(bars, seed), LAYOUT, (60,), SPEC)


DATASET = built(5)


def by_hand(dataset: Dataset, row: int, code: str, lookback: int) -> list[int]:
    """Return the last `lookback` bars that had closed at the decision, from closing times alone."""
    closes = dataset.tables[code].known_at
    closed = [i for i in range(len(closes)) if closes[i] <= dataset.known_at[row]]
    return closed[-lookback:]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, len(DATASET) - 1), min_size=1, max_size=6),
    st.integers(1, 120),
    st.integers(1, 30),
)
def test_every_window_is_what_a_loop_finds(rows: list[int], bars: int, least: int) -> None:
    config = LookbackConfig(bars=bars, least=least)
    found = sequences(DATASET, np.array(rows), config)
    sizes = lookbacks(LAYOUT, config)
    assert set(found.windows) == set(sizes) == {"1h", "4h", "1d"}
    complete = np.ones(len(rows), dtype=bool)
    for code, window in found.windows.items():
        index, known = window.index()
        assert index.shape == known.shape == (len(rows), sizes[code])
        assert index.dtype == window.start.dtype == window.stop.dtype == np.int32
        for i, row in enumerate(rows):
            expected = by_hand(DATASET, row, code, sizes[code])
            assert index[i][known[i]].tolist() == expected
            assert list(range(window.start[i], window.stop[i])) == expected
            assert known[i].tolist() == [False] * (sizes[code] - len(expected)) + [True] * len(expected)
            assert (index[i][~known[i]] == 0).all()
            complete[i] &= len(expected) == sizes[code]
    np.testing.assert_array_equal(found.complete, complete)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, len(DATASET) - 1), st.integers(0, 5))
def test_a_shifted_window_is_that_of_an_earlier_decision(row: int, shift: int) -> None:
    moved = sequences(DATASET, np.array([row]), shift=np.array([shift]))
    earlier = sequences(DATASET, np.array([max(row - shift, 0)]))
    assert moved.rows.tolist() == [row]
    for code in moved.windows:
        assert moved.windows[code].stop == earlier.windows[code].stop
        assert moved.windows[code].start == earlier.windows[code].start


def test_no_window_holds_a_bar_that_closes_after_the_decision() -> None:
    rows = np.arange(len(DATASET))
    for code, window in sequences(DATASET, rows).windows.items():
        seen = window.stop > 0
        closes = DATASET.tables[code].known_at[window.stop[seen] - 1]
        assert (closes <= DATASET.known_at[seen]).all()
        assert seen.any()


def test_cutting_the_future_off_changes_no_window() -> None:
    cut = built(5)
    rows = np.arange(300)
    short = build_dataset(cut.candles.take(slice(0, 300)), LAYOUT, (60,), SPEC)
    for code, window in sequences(short, rows).windows.items():
        whole = sequences(cut, rows).windows[code]
        np.testing.assert_array_equal(window.start, whole.start)
        np.testing.assert_array_equal(window.stop, whole.stop)


@pytest.mark.parametrize(
    ("codes", "config", "expected"),
    [
        (("5m", "15m", "1h", "4h"), LookbackConfig(), {"5m": 500, "15m": 166, "1h": 41, "4h": 10}),
        (("5m", "1h", "1d"), LookbackConfig(), {"5m": 500, "1h": 41, "1d": 10}),
        (("5m", "1h", "1d"), LookbackConfig(timeframes=("5m", "1h")), {"5m": 500, "1h": 41}),
        (("1m", "5m"), LookbackConfig(bars=20, least=3), {"1m": 20, "5m": 4}),
        (("1h", "4h"), LookbackConfig(bars=5), {"1h": 5, "4h": 10}),
    ],
)
def test_slower_timeframes_look_back_over_the_same_clock_time(
    codes: tuple[str, ...], config: LookbackConfig, expected: dict[str, int]
) -> None:
    assert lookbacks([TIMEFRAMES[c] for c in codes], config) == expected


def test_nothing_is_copied_until_a_batch_is_spelled_out() -> None:
    found = sequences(DATASET, np.arange(len(DATASET)))
    held = sum(w.start.nbytes + w.stop.nbytes for w in found.windows.values())
    assert held == 8 * 3 * len(DATASET)
    window = found.windows["4h"]
    whole, part = window.index(), window.index(slice(100, 120))
    np.testing.assert_array_equal(part[0], whole[0][100:120])
    np.testing.assert_array_equal(part[1], whole[1][100:120])
    gathered = DATASET.tables["4h"].values[part[0]]
    assert gathered.shape == (20, 125, len(DATASET.tables["4h"].names))
    np.testing.assert_array_equal(gathered[-1, -1], DATASET.tables["4h"].values[DATASET.last_known[119, 1]])


def test_an_empty_window_is_all_mask() -> None:
    index, known = Window(3, np.zeros(1, np.int32), np.zeros(1, np.int32)).index()
    assert index.tolist() == [[0, 0, 0]]
    assert not known.any()
    assert len(sequences(DATASET, np.empty(0, np.int64))) == 0


def test_misuse_is_refused() -> None:
    with pytest.raises(DataError, match="lie outside"):
        sequences(DATASET, np.array([len(DATASET)]))
    with pytest.raises(DataError, match="past only"):
        sequences(DATASET, np.array([50]), shift=np.array([-1]))
    with pytest.raises(DataError, match="past only"):
        sequences(DATASET, np.array([50]), shift=np.array([1, 2]))
    with pytest.raises(BadInputError, match="15m are asked for, the dataset has 1h, 4h, 1d"):
        sequences(DATASET, np.array([50]), LookbackConfig(timeframes=("15m",)))


def test_augmentation_is_off_by_default_and_repeats_with_its_seed() -> None:
    values = np.ones((50, 40, 3), dtype=np.float32)
    off = AugmentationConfig()
    assert (shifts(100, off, np.random.default_rng(0)) == 0).all()
    np.testing.assert_array_equal(noisy(values, off, np.random.default_rng(0)), values)
    on = AugmentationConfig(noise=0.001, shift=5)
    first, again, other = (noisy(values, on, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.dtype == np.float32
    assert (first - values).std() == pytest.approx(0.001, rel=0.05)
    drawn = shifts(6000, on, np.random.default_rng(1))
    assert np.bincount(drawn).tolist() == pytest.approx([1000] * 6, rel=0.15)
