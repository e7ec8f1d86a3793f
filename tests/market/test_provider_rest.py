"""Tiingo and Alpha Vantage over HTTP: formats, pages, messages in place of data, running bars."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from provider_servers import (
    ProviderServer,
    Reply,
    Seconds,
    alpha_body,
    alpha_vantage,
    bars,
    serving,
    tiingo,
    tiingo_rows,
)

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.market.providers.provider import AccessError, Chunk, Provider, ProviderError, QuotaError, Remote
from fxgpt_core.market.providers.registry import provider

NOW = datetime(2024, 3, 6, 12, 2, 30, tzinfo=UTC)
MONDAY, TUESDAY = datetime(2024, 2, 5, tzinfo=UTC), datetime(2024, 2, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TIINGO_API_KEY", "ALPHAVANTAGE_API_KEY"):
        monkeypatch.setenv(variable, "secret-key")


@pytest.fixture
def tiingo_server() -> Iterator[ProviderServer]:
    with serving(tiingo(NOW)) as server:
        yield server


@pytest.fixture
def alpha_server() -> Iterator[ProviderServer]:
    with serving(alpha_vantage(NOW)) as server:
        yield server


def made(name: str, url: str, now: datetime = NOW, **options: Any) -> Provider:
    fast = {"base_url": url, "requests_per_minute": 60_000, "burst": 1000, "timeout": 30.0, "backoff": 0.0}
    return provider(name, {**fast, **options}, pace=Seconds(now).pace)


def fetched(source: Provider, bar: str, start: str, end: str, symbol: str = "EURUSD") -> list[Chunk]:
    return list(source.fetch(symbol, TIMEFRAMES[bar], np.datetime64(start, "ns"), np.datetime64(end, "ns")))


def days_asked(server: ProviderServer) -> list[tuple[str, str]]:
    return [(asked.parameters["startDate"], asked.parameters["endDate"]) for asked in server.asked]


def test_tiingo_rows_become_mid_bars(tiingo_server: ProviderServer) -> None:
    (chunk,) = fetched(made("tiingo", tiingo_server.url), "5m", "2024-02-05", "2024-02-06")
    (asked,) = tiingo_server.asked
    assert asked.path == "/tiingo/fx/eurusd/prices"
    assert asked.parameters == {"startDate": "2024-02-05", "endDate": "2024-02-05", "resampleFreq": "5min"}
    assert asked.headers["Authorization"] == "Token secret-key"
    expected = bars(MONDAY, TUESDAY, 5)
    candles = chunk.candles
    assert len(candles) == 288
    assert candles.side == "mid"
    assert str(candles.ts_utc[0]) == "2024-02-05T00:00:00.000000000"
    for name, column in (("open", 1), ("high", 2), ("low", 3), ("close", 4)):
        np.testing.assert_array_equal(getattr(candles, name), [row[column] for row in expected])
    assert np.isnan(candles.volume).all()
    assert np.isnan(candles.spread).all()


def test_a_long_range_is_asked_in_pages_and_no_day_twice(tiingo_server: ProviderServer) -> None:
    chunks = fetched(made("tiingo", tiingo_server.url), "1m", "2024-02-02T12:00", "2024-02-10")
    assert days_asked(tiingo_server) == [
        ("2024-02-02", "2024-02-04"), ("2024-02-05", "2024-02-07"), ("2024-02-08", "2024-02-09"),
    ]  # fmt: skip
    assert sum(len(chunk.candles) for chunk in chunks) == 600 + 120 + 4 * 1440 + 22 * 60
    assert str(chunks[0].start)[:16] == "2024-02-02T12:00"
    assert str(chunks[-1].end)[:16] == "2024-02-10T00:00"


def test_a_page_of_closed_days_is_not_asked_for(tiingo_server: ProviderServer) -> None:
    (chunk,) = fetched(made("tiingo", tiingo_server.url), "5m", "2024-02-03", "2024-02-04")
    assert len(chunk.candles) == 0
    assert tiingo_server.asked == []


def test_a_last_day_that_is_left_out_is_asked_for_by_itself() -> None:
    with serving(tiingo(NOW, end_included=False)) as server:
        (chunk,) = fetched(made("tiingo", server.url), "5m", "2024-02-05", "2024-02-08")
        assert days_asked(server) == [("2024-02-05", "2024-02-07"), ("2024-02-07", "2024-02-08")]
    assert len(chunk.candles) == 3 * 288


def test_rows_out_of_order_and_twice_are_put_right_and_contradictions_set_aside() -> None:
    rows = tiingo_rows(bars(MONDAY, TUESDAY, 60))
    contradiction = {**rows[5], "close": rows[5]["high"]}
    bad = {**rows[7], "high": rows[7]["low"], "low": rows[7]["high"]}
    mixed = [*rows[12:], *rows[:7], contradiction, bad, *rows[8:12], *rows[10:14]]
    with serving(lambda asked: Reply(body=json.dumps(mixed).encode())) as server:
        (chunk,) = fetched(made("tiingo", server.url), "1h", "2024-02-05", "2024-02-06")
    hours = [int(str(time)[11:13]) for time in chunk.candles.ts_utc]
    assert hours == [hour for hour in range(24) if hour not in (5, 7)]
    assert chunk.set_aside is not None
    assert sorted(chunk.set_aside["reason"]) == ["contradictory", "contradictory", "high_below_low"]


@pytest.mark.parametrize("name", ["tiingo", "alpha_vantage"])
def test_a_bar_that_is_still_running_is_not_yielded(name: str) -> None:
    respond = tiingo(NOW) if name == "tiingo" else alpha_vantage(NOW)
    with serving(respond) as server:
        chunks = fetched(made(name, server.url), "5m", "2024-03-06", "2024-03-07")
        sent = bars(datetime(2024, 3, 6, tzinfo=UTC), NOW, 5)
    assert f"{sent[-1][0]:%H:%M}" == "12:00"
    assert str(chunks[-1].candles.ts_utc[-1])[:16] == "2024-03-06T11:55"
    assert str(chunks[-1].end)[:16] == "2024-03-06T12:00"


@pytest.mark.parametrize("name", ["tiingo", "alpha_vantage"])
def test_two_hours_and_slower_are_made_of_hours(name: str) -> None:
    respond = tiingo(NOW) if name == "tiingo" else alpha_vantage(NOW)
    with serving(respond) as server:
        chunks = fetched(made(name, server.url), "4h", "2024-01-28T22:00", "2024-02-16T22:00")
        asked = {a.parameters.get("resampleFreq") or a.parameters["interval"] for a in server.asked}
    assert asked == {"1hour" if name == "tiingo" else "60min"}
    opens = np.concatenate([chunk.candles.ts_utc for chunk in chunks])
    assert len(opens) == 3 * 30
    assert {str(time)[11:13] for time in opens} == {"22", "02", "06", "10", "14", "18"}


def test_alpha_vantage_is_asked_by_the_month(alpha_server: ProviderServer) -> None:
    source = made("alpha_vantage", alpha_server.url)
    chunks = fetched(source, "5m", "2024-01-20", "2024-03-02")
    assert [asked.path for asked in alpha_server.asked] == ["/query"] * 3
    assert [asked.parameters for asked in alpha_server.asked] == [
        {
            "function": "FX_INTRADAY", "from_symbol": "EUR", "to_symbol": "USD", "interval": "5min", "month": month,
            "outputsize": "full", "datatype": "json", "apikey": "secret-key",
        }
        for month in ("2024-01", "2024-02", "2024-03")
    ]  # fmt: skip
    expected = bars(datetime(2024, 1, 20, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC), 5)
    opens = np.concatenate([chunk.candles.ts_utc for chunk in chunks])
    np.testing.assert_array_equal(opens, [np.datetime64(row[0].replace(tzinfo=None), "ns") for row in expected])
    closes = np.concatenate([chunk.candles.close for chunk in chunks])
    np.testing.assert_array_equal(closes, [row[4] for row in expected])


def test_a_month_that_alpha_vantage_passes_over_does_not_count_as_empty() -> None:
    with serving(alpha_vantage(NOW, honours_month=False)) as server:
        source = made("alpha_vantage", server.url)
        with pytest.raises(ProviderError, match=r"only since 2024-02-05, not of 2023-12"):
            fetched(source, "5m", "2023-12-01", "2024-01-01")
        chunks = fetched(source, "5m", "2024-03-01", "2024-03-06")
        assert sum(len(chunk.candles) for chunk in chunks) == 22 * 12 + 2 * 12 + 2 * 288


def test_alpha_vantage_in_another_time_zone_is_refused() -> None:
    with serving(lambda asked: Reply(body=alpha_body(bars(MONDAY, TUESDAY, 5), zone="US/Eastern"))) as server:
        with pytest.raises(ProviderError, match="'US/Eastern', not in UTC"):
            fetched(made("alpha_vantage", server.url), "5m", "2024-02-05", "2024-02-06")
        assert len(server.asked) == 1


DAILY = (
    "We have detected your API key as secret-key and our standard API rate limit is 25 requests per day. Please "
    "subscribe to any of the premium plans to instantly remove all daily rate limits."
)
MINUTELY = (
    "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and 500 calls per day."
)


@pytest.mark.parametrize(
    ("name", "body", "until"),
    [
        ("alpha_vantage", json.dumps({"Information": DAILY}), datetime(2024, 3, 7, 0, 0, tzinfo=UTC)),
        ("alpha_vantage", json.dumps({"Note": MINUTELY}), NOW + timedelta(minutes=1)),
        ("tiingo", "You have run over your hourly request allocation.", datetime(2024, 3, 6, 13, 0, tzinfo=UTC)),
        ("tiingo", '{"detail": "You have run over your daily limit"}', datetime(2024, 3, 7, 5, 0, tzinfo=UTC)),
        ("tiingo", "You have run over your 500 symbol look up for this month.", datetime(2024, 4, 1, 4, tzinfo=UTC)),
    ],
    ids=["a day", "a minute", "an hour", "a day of New York", "a month"],
)
def test_a_quota_message_with_status_200_says_when_to_go_on(name: str, body: str, until: datetime) -> None:
    with serving(lambda asked: Reply(200, body.encode())) as server:
        with pytest.raises(QuotaError) as caught:
            fetched(made(name, server.url, longest_wait=0), "5m", "2024-02-05", "2024-02-06")
        assert len(server.asked) == 1
    assert abs((caught.value.retry_at - until).total_seconds()) < 1
    assert f"go on after {until:%Y-%m-%d %H:%M}" in str(caught.value)
    assert "secret-key" not in str(caught.value)


def test_a_quota_of_a_minute_is_waited_for(alpha_server: ProviderServer) -> None:
    alpha_server.script = [Reply(200, json.dumps({"Note": MINUTELY}).encode())]
    seconds = Seconds(NOW)
    source = provider("alpha_vantage", {"base_url": alpha_server.url, "burst": 10}, pace=seconds.pace)
    (chunk,) = fetched(source, "5m", "2024-02-05", "2024-02-06")
    assert len(chunk.candles) == 288
    assert seconds.slept == [60.0]


@pytest.mark.parametrize(
    ("name", "reply", "variable"),
    [
        ("tiingo", Reply(401, b'{"detail": "Invalid token."}'), "TIINGO_API_KEY"),
        ("tiingo", Reply(200, b"Please supply a token"), "TIINGO_API_KEY"),
        (
            "alpha_vantage",
            Reply(200, b'{"Error Message": "the parameter apikey is invalid or missing. Please claim your free key"}'),
            "ALPHAVANTAGE_API_KEY",
        ),
        (
            "alpha_vantage",
            Reply(200, b'{"Information": "Thank you for using Alpha Vantage! This is a premium endpoint."}'),
            "ALPHAVANTAGE_API_KEY",
        ),
    ],
    ids=["401", "text", "JSON", "premium"],
)
def test_a_wrong_key_stops_at_once(name: str, reply: Reply, variable: str) -> None:
    with serving(lambda asked: reply) as server:
        with pytest.raises(AccessError, match=f"does not accept the key in {variable}"):
            fetched(made(name, server.url), "5m", "2024-02-05", "2024-02-06")
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("name", "reply", "sentence"),
    [
        ("tiingo", Reply(404, b'{"detail": "Not found."}'), "does not know EURUSD"),
        ("tiingo", Reply(200, b'{"detail": "Maintenance"}'), "message instead of bars: Maintenance"),
        ("tiingo", Reply(200, b'[{"date": "2024-02-05"}]'), "its format has changed"),
        ("alpha_vantage", Reply(200, b'{"Error Message": "Invalid API call."}'), "instead of bars: Invalid API call"),
        ("alpha_vantage", Reply(200, b"{}"), "neither bars nor a message"),
        ("alpha_vantage", Reply(404), "check base_url"),
    ],
)
def test_other_answers_are_told_in_a_sentence(name: str, reply: Reply, sentence: str) -> None:
    with serving(lambda asked: reply) as server, pytest.raises(ProviderError, match=sentence):
        fetched(made(name, server.url, retries=1), "5m", "2024-02-05", "2024-02-06")


@pytest.mark.parametrize("name", ["tiingo", "alpha_vantage"])
def test_json_that_was_cut_off_is_asked_for_again(name: str) -> None:
    respond = tiingo(NOW) if name == "tiingo" else alpha_vantage(NOW)
    with serving(respond) as server:
        source = made(name, server.url)
        server.script = [Reply(fault="truncate"), Reply(200, b'[{"date": "2024-02-05T00:0')]
        (chunk,) = fetched(source, "5m", "2024-02-05", "2024-02-06")
        assert isinstance(source, Remote)
        assert source.requests == len(server.asked) == 3
    assert len(chunk.candles) == 288


@pytest.mark.parametrize(
    ("name", "variable"), [("tiingo", "TIINGO_API_KEY"), ("alpha_vantage", "ALPHAVANTAGE_API_KEY")]
)
def test_without_a_key_nothing_is_asked(name: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable)
    monkeypatch.delenv(f"{variable}_FILE", raising=False)
    with pytest.raises(BadInputError, match=f"set {variable}"):
        provider(name)
