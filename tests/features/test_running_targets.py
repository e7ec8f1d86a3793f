"""Targets kept running are, bit for bit, those computed at once."""

from dataclasses import replace

import numpy as np
import pytest

from fxgpt_core.features.running_targets import RunningTargets
from fxgpt_core.features.spec import YardstickConfig
from fxgpt_core.features.standardised import Targets, make_targets
from fxgpt_core.features.yardstick import Yardstick
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

HORIZONS = (60, 240, 1440)
CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2023-01-02T00:00", "ns"), bars=1500, seed=5, clustering=0.4)
SPARSE = CANDLES.take(np.random.default_rng(1).random(len(CANDLES)) > 0.05)
FIVE = simulate("EURUSD", "5m", start=np.datetime64("2023-01-10T00:00", "ns"), bars=9000, seed=6)
LEARNED = YardstickConfig(first_days=5, learning_days=10, seasonal_days=5)  # leaves its defaults within weeks


def same(found: Targets, candles: Candles, horizons: tuple[int, ...], config: YardstickConfig) -> None:
    whole = make_targets(candles, horizons, config)
    for name in ("yardstick", "target", "label_end", "mask"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), err_msg=name)


@pytest.mark.parametrize("level", ["ewma", "har"])
@pytest.mark.parametrize(("candles", "horizons"), [(CANDLES, HORIZONS), (SPARSE, HORIZONS), (FIVE, (5, 240))])
def test_bar_by_bar_gives_what_all_at_once_gives(candles: Candles, horizons: tuple[int, ...], level: str) -> None:
    """Over weekends, missing bars and the turn of a month, several bars at once, and from the very first bar."""
    config = LEARNED.model_copy(update={"level": level})
    running, count = RunningTargets(horizons, config), len(candles)
    month = candles.known_at.astype("datetime64[M]")
    turn = int(np.flatnonzero(month == month[-1])[0])  # the first bar of the last month
    weekend = turn + int(np.argmax(np.diff(candles.ts_utc[turn:]) > np.timedelta64(1, "D")))  # the last bar before it
    jumps = (0, 1, 2, 3, 4, turn - 7, turn - 1, turn, turn + 1, turn + 2, turn + 40)
    for stop in (*jumps, *range(weekend - 25, weekend + 30), count - 9, count):
        part = candles.take(slice(0, stop))
        found = running.update(part)
        same(found, part, horizons, config)
    assert np.isfinite(found.yardstick[-200:]).all()
    assert found.mask[:-200].any()


def test_targets_returned_before_do_not_change() -> None:
    running = RunningTargets(HORIZONS, LEARNED)
    first = running.update(CANDLES.take(slice(0, 1400)))
    kept = first.mask.copy()
    assert not kept[-1].any()
    second = running.update(CANDLES.take(slice(0, 1450)))
    np.testing.assert_array_equal(first.mask, kept)
    assert second.mask[1399].all()


def test_corrected_bars_are_computed_again() -> None:
    running = RunningTargets(HORIZONS, LEARNED)
    running.update(CANDLES)
    close = CANDLES.close.copy()
    close[900] = (CANDLES.high[900] + CANDLES.low[900]) / 2
    mended = replace(CANDLES, close=close)
    same(running.update(mended), mended, HORIZONS, LEARNED)


def test_history_is_gone_over_once_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = Yardstick.begin

    def begin(self: Yardstick, candles: Candles, *more: object) -> object:
        seen.append(len(candles))
        return real(self, candles, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Yardstick, "begin", begin)
    running = RunningTargets(HORIZONS, LEARNED)
    month = CANDLES.known_at.astype("datetime64[M]")
    turn = int(np.flatnonzero(month == month[-1])[0])
    for stop in range(turn - 5, turn + 6):
        running.update(CANDLES.take(slice(0, stop)))
    assert seen == [turn - 5, turn + 1]
