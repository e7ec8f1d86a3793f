"""A live session says, bar by bar, what a batch forecast of the same bars says."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from fxgpt_core.common.errors import BadInputError, ModelError
from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import final_split
from fxgpt_core.features.assemble import build_dataset, candles_by_timeframe
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.models.forecaster import Forecaster, Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.forecaster import SSSD
from fxgpt_core.training.plan import TrainingPlan

LAYOUT = tuple(TIMEFRAMES[code] for code in ("1h", "4h", "1d"))
HORIZONS = (60, 240)
SPEC = FeatureSpec(groups=("ohlc", "returns", "oscillators", "cross"), indicators={"regime": []})
CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=1100, seed=8)
BY_CODE = candles_by_timeframe(CANDLES, LAYOUT)
LIVE = Provenance("v1", np.datetime64("2030-01-01", "ns"), "live")
MARCH = int(np.searchsorted(CANDLES.known_at, np.datetime64("2024-03-01T00:00", "ns")))
START = MARCH - 25
TINY = {
    "preset": "small",
    "encoder": {"channels": 8, "state": 8, "layers": 2, "heads": 2, "context": 12, "chunk": 64},
    "diffusion": {"latent": 16, "layers": 1, "embedding": 4, "samples": 40, "sampling_steps": 8},
    "training": {"epochs": 2, "segment": 128, "burn_in": 64, "batch": 3, "validation_rows": 60},
}


@lru_cache
def whole(bars: int) -> Dataset:
    return build_dataset(CANDLES.take(slice(0, bars)), LAYOUT, HORIZONS, SPEC)


@pytest.fixture(scope="module")
def history() -> Dataset:
    return whole(START)


@pytest.fixture(scope="module")
def model(history: Dataset) -> SSSD:
    made = SSSD(SSSDConfig.model_validate(TINY))
    made.fit(history.with_split(final_split(history, WalkForwardConfig())), TrainingPlan(seed=7))
    made.adjustment = replace(made.adjustment, shrink=np.array([0.7, 0.4]))  # let the mean count
    return made


def feed(history: Dataset, given: bool = False) -> Feed:
    bars = CANDLES.take(slice(0, START))
    candles = {code: BY_CODE[code].until(bars.known_at[-1]) for code in BY_CODE} if given else bars
    return Feed(candles, LAYOUT, HORIZONS, SPEC, known=history)


def batch(model: Forecaster, bars: int, horizons: tuple[int, ...] = HORIZONS) -> np.ndarray:
    data = whole(bars)
    made = model.forecast(data, np.array([bars - 1]), LIVE, seed=3)
    return made.quantiles / data.yardstick[-1][:, None]


def test_fifty_bars_one_by_one_equal_the_batch_over_a_closing_slow_bar_and_a_month(
    model: SSSD, history: Dataset
) -> None:
    session = model.open(feed(history))
    closed = 0
    for bars in range(START + 1, START + 51):
        assert session.update(CANDLES.take(slice(bars - 1, bars))) == ()
        made = session.forecast(LIVE, seed=3)
        assert made.decided_at[0] == CANDLES.known_at[bars - 1]
        assert made.origin[0] == "live"
        assert made.samples is not None
        closed += session.feed.candles["4h"].known_at[-1] == CANDLES.known_at[bars - 1]
        if bars % 5 == 0 or bars in (MARCH, MARCH + 1, MARCH + 2):
            found = made.quantiles / session.feed.dataset.yardstick[-1][:, None]
            np.testing.assert_allclose(found, batch(model, bars), atol=1e-4)
            np.testing.assert_allclose(session.context, model.contexts(whole(bars), np.array([bars - 1])), atol=1e-4)
    assert closed > 8
    assert session.feed.dataset.definition_hash == history.definition_hash


def test_slower_bars_count_from_when_they_come_however_late(model: SSSD, history: Dataset) -> None:
    session = model.open(feed(history, given=True))
    slow = BY_CODE["4h"].take(slice(len(session.feed.candles["4h"]), None))
    day = BY_CODE["1d"].take(slice(len(session.feed.candles["1d"]), None))
    for delay in (0, 3):  # the 4h bar comes right after the hour that closes with it, or three hours later
        due = np.searchsorted(CANDLES.known_at, slow.known_at[delay]) + 1
        known = len(session.feed.candles["1h"])
        session.update(CANDLES.take(slice(known, due)))
        early = session.context.clone()
        if delay:
            session.update(CANDLES.take(slice(due, due + delay)))
        session.update(slow.take(slice(0 if delay == 0 else 1, delay + 1)))
        moment = session.feed.dataset.known_at[-1]
        while len(day) and day.known_at[0] <= moment:
            session.update(day.take(slice(0, 1)))
            day = day.take(slice(1, None))
        bars = len(session.feed.candles["1h"])
        expected = model.contexts(whole(bars), np.array([bars - 1]))
        np.testing.assert_allclose(session.context, expected, atol=1e-4)
        assert not np.allclose(early, expected, atol=1e-4)


def test_bars_out_of_order_are_refused_and_change_nothing_and_gaps_are_told(model: SSSD, history: Dataset) -> None:
    session = model.open(feed(history))
    before = session.forecast(LIVE, seed=3).quantiles
    with pytest.raises(BadInputError, match=r"1h bar of EURUSD at .* is out of order: the newest one known opens at"):
        session.update(CANDLES.take(slice(START - 1, START + 1)))
    with pytest.raises(BadInputError, match=r"takes 1h bars, not 4h"):
        session.update(BY_CODE["4h"].take(slice(-1, None)))
    with pytest.raises(BadInputError, match=r"GBPUSD mid bars were given to the feed of EURUSD mid"):
        session.update(replace(CANDLES.take(slice(START, START + 1)), symbol="GBPUSD"))
    assert np.array_equal(session.forecast(LIVE, seed=3).quantiles, before)
    told = session.update(CANDLES.take(slice(START + 3, START + 5)))
    opened, missed = CANDLES.ts_utc[START + 3], CANDLES.known_at[START - 1]
    assert told == (f"3 1h bars of EURUSD are missing between {missed}Z and {opened}Z.",)
    holed = Candles("EURUSD", CANDLES.timeframe, "mid", *[
        np.delete(getattr(CANDLES, name)[: START + 5], slice(START, START + 3))
        for name in ("ts_utc", "open", "high", "low", "close", "volume", "spread")
    ])  # fmt: skip
    data = build_dataset(holed, LAYOUT, HORIZONS, SPEC)
    np.testing.assert_allclose(session.context, model.contexts(data, np.array([len(data) - 1])), atol=1e-4)


def test_a_weekend_is_no_gap(model: SSSD, history: Dataset) -> None:
    session = model.open(feed(history))
    stop = START + 200
    assert (np.diff(CANDLES.ts_utc[START:stop]) > np.timedelta64(40, "h")).any()
    assert session.update(CANDLES.take(slice(START, stop))) == ()


def test_a_session_goes_on_after_a_restart_and_refuses_what_is_not_its_own(
    model: SSSD, history: Dataset, tmp_path: Path
) -> None:
    first = model.open(feed(history))
    first.update(CANDLES.take(slice(START, START + 7)))
    first.save(tmp_path / "kept")
    model.save(tmp_path / "model")
    loaded = SSSD(SSSDConfig())
    loaded.load(tmp_path / "model")
    restarted = Feed(CANDLES.take(slice(0, START + 19)), LAYOUT, HORIZONS, SPEC)  # it was down for twelve hours
    second = loaded.open(restarted, tmp_path / "kept")
    first.update(CANDLES.take(slice(START + 7, START + 19)))
    for session in (first, second):
        session.update(CANDLES.take(slice(START + 19, START + 20)))
    assert np.array_equal(first.forecast(LIVE, seed=1).samples, second.forecast(LIVE, seed=1).samples)

    close = CANDLES.close.copy()
    close[50] = CANDLES.low[50]
    mended = replace(CANDLES, close=close).take(slice(0, START + 19))
    with pytest.raises(ModelError, match=r"went over \d+ 1h bars of EURUSD that are not the first"):
        loaded.open(Feed(mended, LAYOUT, HORIZONS, SPEC), tmp_path / "kept")
    other = SSSD(loaded.config)
    other.fit(history.with_split(final_split(history, WalkForwardConfig())), TrainingPlan(seed=8))
    with pytest.raises(ModelError, match=r"of another symbol or model"):
        other.open(feed(history), tmp_path / "kept")
    state = tmp_path / "kept" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-4] + b"abcd")
    with pytest.raises(ModelError, match=r"damaged or was cut off"):
        loaded.open(restarted, tmp_path / "kept")
    with pytest.raises(ModelError, match=r"holds no session"):
        loaded.open(restarted, tmp_path)


def test_any_horizons_can_be_asked_for(model: SSSD, history: Dataset) -> None:
    session = model.open(feed(history))
    everything, some = session.forecast(LIVE, seed=2), session.forecast(LIVE, (240,), seed=2)
    assert some.horizons == (240,)
    assert some.quantiles.shape == (1, 1, len(some.levels))
    np.testing.assert_allclose(some.quantiles[:, 0], everything.quantiles[:, 1], atol=0.3 * float(everything.std[0, 1]))
    other = session.forecast(LIVE, (240,), seed=3)
    assert not np.array_equal(other.samples, some.samples)
    np.testing.assert_array_equal(other.quantiles, some.quantiles)  # one law for all rows: no draw decides them
    for horizons in ((), (61,)):
        with pytest.raises(ModelError, match=r"the model forecasts \[60, 240\]"):
            session.forecast(LIVE, horizons)


@pytest.mark.parametrize("name", ["ewma", "ridge"])
def test_families_without_streaming_have_the_same_session(name: str, history: Dataset) -> None:
    entry = family(name)
    other = entry.create(entry.config({}))
    other.fit(history.with_split(final_split(history, WalkForwardConfig())), TrainingPlan(seed=1))
    session = other.open(feed(history))
    session.update(CANDLES.take(slice(START, START + 30)))
    found = session.forecast(LIVE, seed=3).quantiles / session.feed.dataset.yardstick[-1][:, None]
    np.testing.assert_array_equal(found, batch(other, START + 30))
    assert session.forecast(LIVE, (60,)).horizons == (60,)
