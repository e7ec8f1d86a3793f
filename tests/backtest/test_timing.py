"""When weeks end for a position, and which entries come too late, on bars whose times can be read off."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.result import BacktestResult
from fxgpt_core.backtest.timing import before_weekend
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.market_hours import market_hours
from tests.backtest.cases import FREE, broker, candles_of, config, costs, forecast_with, random_case

ENGINES = pytest.mark.parametrize("engine", ["ledger", "backtesting"])
WEEKEND: dict[str, Any] = {"exit_before_weekend": True}


def bars(*spans: tuple[str, str], bar: str = "1h") -> Candles:
    """Bars of one price whose opens run from the first to the last time of each span, both with a bar (UTC)."""
    length = timeframe(bar).duration
    opens = [np.arange(np.datetime64(a, "ns"), np.datetime64(b, "ns") + length, length) for a, b in spans]
    times = np.concatenate(opens)
    return candles_of([[1.1, 1.1002, 1.0998, 1.1]] * len(times), bar=bar, ts_utc=times)


def traded(candles: Candles, up: Any, **changes: Any) -> BacktestResult:
    forecast = forecast_with(np.broadcast_to(up, len(candles)), candles.known_at)
    chosen = config(**{"sizing": {"method": "fixed", "lots": 0.1}, **changes})
    return run_backtest(candles, forecast, chosen, FREE, broker=broker())


def exits(result: BacktestResult) -> list[str]:
    return [f"{time:%Y-%m-%dT%H:%M}" for time in result.trades["exit_time"]]


@ENGINES
@pytest.mark.parametrize("last", ["21:45", "21:50", "21:55"])
def test_five_minute_bars_are_left_in_time_wherever_the_feed_ends_its_week(last: str, engine: str) -> None:
    """Friday 17:00 New York is 22:00 UTC; the week's last bar closes at 16:50, 16:55 or 17:00 New York."""
    candles = bars(("2024-01-12T19:00", f"2024-01-12T{last}"), ("2024-01-14T22:00", "2024-01-14T23:00"), bar="5m")
    result = traded(candles, 0.7, engine=engine, **WEEKEND)
    assert exits(result)[0] == "2024-01-12T21:45"
    assert list(result.trades["reason"]) == ["weekend", "end"]
    assert result.trades["entry_time"].iloc[1] == pd.Timestamp("2024-01-14T22:05", tz="UTC")


@ENGINES
@pytest.mark.parametrize(
    ("bar", "first", "last", "left"),
    [
        ("5m", "2024-01-12T20:00", "2024-01-12T21:55", "2024-01-12T21:45"),
        ("15m", "2024-01-12T19:00", "2024-01-12T21:45", "2024-01-12T21:45"),
        ("1h", "2024-01-12T12:00", "2024-01-12T21:00", "2024-01-12T21:00"),
        ("4h", "2024-01-11T22:00", "2024-01-12T18:00", "2024-01-12T18:00"),
        ("4h", "2024-07-11T21:00", "2024-07-12T17:00", "2024-07-12T17:00"),
        ("4h", "2024-01-12T00:00", "2024-01-12T20:00", "2024-01-12T20:00"),
        ("1d", "2024-01-07T22:00", "2024-01-11T22:00", "2024-01-11T22:00"),
        ("1d", "2021-12-19T22:00", "2021-12-23T22:00", "2021-12-23T22:00"),
    ],
    ids=["5m", "15m", "1h", "4h", "4h in summer", "4h from UTC midnight", "1d", "1d before an early close"],
)
def test_every_bar_length_is_left_at_the_last_open_from_which_a_quarter_of_an_hour_is_traded(
    bar: str, first: str, last: str, left: str, engine: str
) -> None:
    """Weeks end on Fridays at 17:00 New York: 22:00 UTC in winter, 21:00 in summer."""
    monday = f"{np.datetime64(last[:10]) + 4}T22:00"
    result = traded(bars((first, last), (monday, monday), bar=bar), 0.7, engine=engine, **WEEKEND)
    assert (exits(result)[0], result.trades["reason"].iloc[0]) == (left, "weekend")


@ENGINES
@pytest.mark.parametrize(
    ("day", "back"),
    [("2020-12-24", "2020-12-27T22:00"), ("2021-12-24", "2021-12-26T22:00")],
    ids=["Friday shut and Thursday until 13:00", "Friday until 13:00"],
)
def test_a_holiday_or_an_early_close_ends_the_week(day: str, back: str, engine: str) -> None:
    """13:00 New York is 18:00 UTC: an hour before it an hourly position is closed, and nothing else is bought."""
    candles = bars((f"{day}T08:00", f"{day}T17:00"), (back, back[:-5] + "23:00"))
    result = traded(candles, 0.7, engine=engine, **WEEKEND)
    assert exits(result)[0] == f"{day}T17:00"
    assert len(result.trades) == 1 + (result.trades["entry_time"].max() > pd.Timestamp(back, tz="UTC"))
    assert exits(traded(candles, 0.7, engine=engine, weekend_lead_minutes=61, **WEEKEND))[0] == f"{day}T16:00"


def test_market_hours_say_when_a_week_ends() -> None:
    closes = market_hours().week_close(
        np.array(["2020-12-22", "2021-12-21", "2024-01-09", "2020-12-25T20:00"], "M8[ns]")
    )
    expected = ["2020-12-24T18:00", "2021-12-24T18:00", "2024-01-12T22:00", "2020-12-24T18:00"]
    assert closes.tolist() == np.array(expected, "M8[ns]").tolist()


def test_a_stray_bar_after_the_end_stays_flat_and_the_new_week_does_not() -> None:
    known = np.array(["2024-01-12T20:00", "2024-01-12T21:00", "2024-01-13T10:00", "2024-01-14T22:00"], "M8[ns]")
    found = before_weekend(known, timeframe("1h"), BacktestConfig(), market_hours())
    assert found.tolist() == [False, True, True, False]


@ENGINES
def test_an_entry_whose_bar_opens_within_the_lead_is_cancelled(engine: str) -> None:
    """Decided at 16:00 New York, and the next bar is the week's last, at 16:50: less than an hour, but too late."""
    candles = bars(("2024-01-12T19:00", "2024-01-12T20:55"), ("2024-01-12T21:50", "2024-01-12T21:50"),
                   ("2024-01-14T22:00", "2024-01-14T23:00"), bar="5m")  # fmt: skip
    up = np.where(candles.known_at == np.datetime64("2024-01-12T21:00"), 0.7, 0.5)
    assert traded(candles, up, engine=engine, **WEEKEND).refused["late"] == 1
    assert len(traded(candles, up, engine=engine, **WEEKEND).trades) == 0
    assert len(traded(candles, up, engine=engine).trades) == 1


@ENGINES
@pytest.mark.parametrize("weekend", [True, False])
def test_an_entry_whose_bar_opens_days_later_is_cancelled(engine: str, weekend: bool) -> None:
    """Decided Thursday 18:00 UTC, the next bar opens on Sunday 22:00: what the forecast was about is over by then."""
    candles = bars(("2024-01-11T12:00", "2024-01-11T17:00"), ("2024-01-14T22:00", "2024-01-15T04:00"))
    up = np.where(candles.known_at == np.datetime64("2024-01-11T18:00"), 0.7, 0.5)
    result = traded(candles, up, engine=engine, exit_before_weekend=weekend)
    assert len(result.trades) == 0
    assert result.refused == {"margin": 0, "too_small": 0, "late": 1}
    if engine == "ledger":
        order = result.orders.iloc[0]
        assert (order.purpose, order.status, order.limited_by, order.units) == ("entry", "cancelled", "late", 10_000)
        assert len(result.fills) == 0
    assert len(traded(candles, up, engine=engine, entry_gap_minutes=6000, exit_before_weekend=weekend).trades) == 1


@ENGINES
def test_an_exit_is_filled_however_late_and_a_reversal_only_closes(engine: str) -> None:
    candles = bars(("2024-01-11T12:00", "2024-01-11T17:00"), ("2024-01-14T22:00", "2024-01-15T04:00"))
    up = np.full(len(candles), 0.5)
    up[4], up[5] = 0.7, 0.3
    result = traded(candles, up, engine=engine)
    assert exits(result) == ["2024-01-14T22:00"]
    assert list(result.trades["reason"]) == ["reversal"]
    assert result.refused["late"] == 1


@ENGINES
@pytest.mark.parametrize(("bar", "missing", "filled"), [("1h", 1, 1), ("1h", 2, 1), ("1h", 3, 0), ("5m", 12, 1),
                                                        ("5m", 13, 0)])  # fmt: skip
def test_a_gap_of_two_bars_or_an_hour_is_bridged(bar: str, missing: int, filled: int, engine: str) -> None:
    whole = bars(("2024-01-10T00:00", "2024-01-10T12:00"), bar=bar)
    candles = whole.take(np.r_[0:5, 5 + missing : len(whole)])
    up = np.full(len(candles), 0.5)
    up[4] = 0.7
    assert len(traded(candles, up, engine=engine).trades) == filled


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), weekend=st.booleans(), stop=st.sampled_from([None, 1.0]))
def test_engines_agree_where_bars_are_missing(seed: int, weekend: bool, stop: float | None) -> None:
    candles, forecast = random_case(seed)
    rng = np.random.default_rng(seed)
    kept = np.repeat(rng.uniform(size=len(candles) // 4) < 0.6, 4)
    holed = candles.take(np.flatnonzero(kept))
    known = forecast.take(np.isin(forecast.decided_at, holed.known_at))
    chosen = config(BacktestConfig(), horizon="4h", confidence_quantile=0.0, history_rows=10, stop_loss=stop,
                    exit_before_weekend=weekend)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # backtesting.py warns of an order refused for margin; `refused` counts them
        ours, theirs = (
            run_backtest(holed, known, chosen.model_copy(update={"engine": name}), costs(spread_pips=1.0))
            for name in ("ledger", "backtesting")
        )
    assert ours.refused == theirs.refused
    pd.testing.assert_frame_equal(ours.trades, theirs.trades, rtol=1e-9, atol=1e-9)
