"""Nights and money at 17:00 New York, against a calendar and a broker's arithmetic."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxgpt_core.common.errors import ConfigError
from fxgpt_core.market.instrument_config import InstrumentsConfig, load_instruments, shipped_instruments
from fxgpt_core.market.instruments import instrument
from fxgpt_core.market.market_hours import market_hours
from fxgpt_core.market.rollover import rollovers, swap_per_night


def at(text: str) -> np.datetime64:
    return np.datetime64(text, "ns")


def nights(symbol: str, start: str, end: str) -> dict[str, int]:
    """Hour of each rollover (UTC) -> nights."""
    found = rollovers(instrument(symbol, shipped_instruments()), at(start), at(end), market_hours())
    return {str(time)[:13]: int(count) for time, count in zip(found.at, found.nights, strict=True)}


def test_wednesday_pays_three_nights_and_thursday_does_where_the_next_day_settles() -> None:
    assert list(nights("EURUSD", "2019-07-01", "2019-07-06").values()) == [1, 1, 3, 1, 1]
    assert list(nights("USDCAD", "2019-07-01", "2019-07-06").values()) == [1, 1, 1, 3, 1]


def test_rollover_is_17_new_york_in_summer_and_winter() -> None:
    assert set(nights("EURUSD", "2019-03-04", "2019-03-16")) == {
        *(f"2019-03-{day:02d}T22" for day in range(4, 9)), *(f"2019-03-{day:02d}T21" for day in range(11, 16)),
    }  # fmt: skip


def test_holidays_are_no_value_dates() -> None:
    """Christmas 2019 was a Wednesday: a trade of Friday settles on Tuesday, one of Monday on Thursday."""
    found = nights("EURUSD", "2019-12-19", "2019-12-31")
    assert found == {
        "2019-12-19T22": 1, "2019-12-20T22": 2, "2019-12-23T22": 1, "2019-12-24T22": 3, "2019-12-26T22": 1,
        "2019-12-27T22": 2, "2019-12-30T22": 1,
    }  # fmt: skip


@given(
    start=st.dates(date(2005, 1, 1), date(2035, 1, 1)),
    weeks=st.integers(3, 60),
    symbol=st.sampled_from(["EURUSD", "USDCAD"]),
)
def test_nights_add_up_to_calendar_days(start: date, weeks: int, symbol: str) -> None:
    """Whatever lies between: value dates move on by as many days as pass, but for a holiday at either end."""
    first = np.datetime64(start, "ns")
    found = rollovers(instrument(symbol), first, first + np.timedelta64(7 * weeks, "D"), market_hours())
    assert abs(int(found.nights.sum()) - 7 * weeks) <= 4
    assert (found.nights >= 1).all()
    assert (np.diff(found.at) > np.timedelta64(0)).all()


def test_between_counts_a_rollover_at_the_end_of_the_span_and_none_at_its_start() -> None:
    found = rollovers(instrument("EURUSD"), at("2024-01-08"), at("2024-01-13"), market_hours())
    wednesday = at("2024-01-10T22:00")
    hour = np.timedelta64(1, "h")
    assert found.between(np.array([wednesday - hour]), np.array([wednesday]))[0] == 3
    assert found.between(np.array([wednesday]), np.array([wednesday + hour]))[0] == 0


def test_swap_points_are_points_of_the_last_digit_from_their_day_on() -> None:
    config = InstrumentsConfig.model_validate(
        {"instruments": {"USDJPY": {"swaps": [
            {"since": "2024-01-01", "long": 12, "short": -25}, {"since": "2024-02-01", "long": 10, "short": -20},
        ]}}}
    )  # fmt: skip
    times = np.array(["2024-01-31T21:59", "2024-01-31T23:00", "2024-02-01T05:00"], dtype="datetime64[ns]")
    long, short = swap_per_night(instrument("USDJPY", config), times, np.full(3, 150.0), config)
    np.testing.assert_allclose(long, [0.012, 0.012, 0.010])
    np.testing.assert_allclose(short, [-0.025, -0.025, -0.020])


def test_interest_pays_the_higher_currency_less_the_markup() -> None:
    config = InstrumentsConfig.model_validate(
        {"interest": {"markup": 0.5, "rates": {"AUD": {"2020-01-01": 4.0}, "JPY": {"2020-01-01": 0.4}}}}
    )
    times = np.array(["2024-01-10"], dtype="datetime64[ns]")
    long, short = swap_per_night(instrument("AUDJPY", config), times, np.array([100.0]), config)
    assert long[0] == pytest.approx(100 * (4.0 - 0.4 - 0.5) / 100 / 360)
    assert short[0] == pytest.approx(-100 * (4.0 - 0.4 + 0.5) / 100 / 360)
    unknown, other = swap_per_night(instrument("EURPLN", config), times, np.array([4.0]), config)
    assert unknown[0] == other[0] == pytest.approx(-4.0 * 0.5 / 100 / 360)


def test_the_shipped_file_and_its_mistakes(tmp_path) -> None:  # type: ignore[no-untyped-def]
    shipped = load_instruments(tmp_path)
    assert shipped == shipped_instruments()
    assert shipped.spread_sessions["rollover"] > shipped.spread_sessions["london"]
    assert {"USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "NZD"} <= set(shipped.interest.rates)
    for text, words in (
        ("instruments: {EURUSD: {lot_stp: 0.1}}", r"unknown key 'instruments.EURUSD.lot_stp'.*lot_step"),
        ("instruments: {EURUS: {}}", r"is not a currency pair"),
        ("spread_sessions: {lundon: 1.0}", r"unknown session 'lundon'; did you mean 'london'"),
        ("interest: {rates: {EUR: {2020-01-01: 500}}}", r"rate of EUR from 2020-01-01 is 500"),
        ("instruments: {EURUSD: {triple_swap_day: wensday}}", r"did you mean 'wednesday'"),
        (
            "instruments: {EURUSD: {swaps: [{since: 2024-01-02, long: 1, short: 1}, {long: 1, short: 1}]}}",
            r"must ascend",
        ),
    ):
        (tmp_path / "instruments.yaml").write_text(text)
        with pytest.raises(ConfigError, match=words):
            load_instruments(tmp_path)


def test_a_broker_changes_what_follows_from_the_currencies() -> None:
    config = InstrumentsConfig.model_validate(
        {
            "instruments": {
                "eur/usd": {"lot_step": 0.1, "min_lot": 0.1, "triple_swap_day": "friday", "contract_size": 10_000}
            }
        }
    )
    pair = instrument("EURUSD", config)
    assert (pair.lot_step, pair.min_lot, pair.triple_swap_day, pair.contract_size) == (0.1, 0.1, 4, 10_000)
    assert (pair.pip, pair.digits) == (0.0001, 5)
    assert instrument("GBPUSD", config) == instrument("GBPUSD")
