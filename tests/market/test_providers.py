"""The shipped sample and the simulated market."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fxgpt_core.market import calendar
from fxgpt_core.market.providers import sample
from fxgpt_core.market.providers.simulator import simulate

START = np.datetime64("2024-01-02T00:00")


def test_the_sample_is_the_file_less_its_two_bars_after_friday_close() -> None:
    candles, judged = sample.sample_candles(), sample.sample_assessment()
    assert len(sample.sample_frame()) == 5000
    assert len(candles) == 4998
    assert judged.report.quarantined == {"outside_market_hours": 2}
    assert [f"{time:%Y-%m-%d %H:%M}" for time in judged.quarantine["ts_utc"]] == [
        "2017-10-06 21:00",
        "2017-10-20 21:00",
    ]
    assert (candles.side, candles.ts_utc[0], candles.close[0]) == ("mid", np.datetime64("2017-04-19T09:00"), 1.07219)


def test_the_sample_is_read_without_importing_the_package_that_carries_it() -> None:
    code = (
        "import sys; from fxgpt_core.market.providers.sample import sample_candles; sample_candles();"
        "print([m for m in ('backtesting', 'duckdb', 'torch', 'bokeh') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("timeframe", ["1m", "1h", "2h", "4h", "1d", "1w"])
def test_simulated_bars_are_every_market_hour_bar_from_the_start(timeframe: str) -> None:
    candles = simulate("USDJPY", timeframe, start=START, bars=200, seed=3)
    grid = calendar.bar_opens(np.datetime64(START, "ns"), candles.known_at[-1], timeframe)
    np.testing.assert_array_equal(candles.ts_utc, grid[:200])
    assert (candles.volume > 0).all()
    assert (candles.spread > 0).all()


def test_the_seed_decides_everything() -> None:
    first, again, other = (simulate(start=START, bars=500, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.close, again.close)
    assert not np.array_equal(first.close, other.close)


def test_the_simulated_market_has_the_features_it_promises() -> None:
    candles = simulate("EURUSD", "15m", start=START, bars=100_000, seed=11, volatility=0.1, jumps_per_week=0.0)
    returns = np.log(candles.close / candles.open)
    yearly = returns.std() * np.sqrt(52 * 480)
    assert yearly == pytest.approx(0.1, rel=0.1)
    assert (returns**4).mean() / (returns**2).mean() ** 2 > 4  # fat tails
    size = np.abs(returns)
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.2  # clustering
    assert abs(np.corrcoef(returns[1:], returns[:-1])[0, 1]) < 0.02  # no direction
    hour = calendar.hour_of_week(candles.ts_utc) % 24
    assert size[hour == 16].mean() > 2 * size[hour == 1].mean()  # daily rhythm
    gaps = np.abs(np.log(candles.open[1:] / candles.close[:-1]))
    weekend = np.diff(candles.ts_utc) > np.timedelta64(1, "D")
    assert gaps[weekend].mean() > 5 * gaps[~weekend].mean()


def test_jumps_are_rare_and_large() -> None:
    calm, jumpy = (
        simulate(start=START, bars=20_000, seed=2, jumps_per_week=rate, jump_scale=0.01) for rate in (0.0, 1.0)
    )
    large = [(np.abs(np.log(c.close / c.open)) > 0.008).sum() for c in (calm, jumpy)]
    assert large[1] > large[0] + 40
