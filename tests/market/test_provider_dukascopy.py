"""Dukascopy over HTTP: golden minute and tick files, sides, empty days, sessions, and what is not asked for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from provider_servers import (
    Asked,
    Reply,
    Seconds,
    bi5_candles,
    bi5_ticks,
    dukascopy,
    missing_file,
    points,
    serving,
)

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.market.providers.dukascopy import Config, Dukascopy
from fxgpt_core.market.providers.provider import Chunk, ProviderError

NOW = datetime(2024, 3, 6, 12, 0, tzinfo=UTC)
TUESDAY = "/EURUSD/2024/01/06"  # 6 February: months count from 00


def fetched(
    url: str, bar: str, start: str, end: str, symbol: str = "EURUSD", now: datetime = NOW, **options: Any
) -> list[Chunk]:
    values = {"base_url": url, "requests_per_minute": 60_000, "burst": 1000, "timeout": 30.0, "backoff": 0.0, **options}
    provider = Dukascopy(Config(**values), Seconds(now).pace)
    return list(provider.fetch(symbol, TIMEFRAMES[bar], np.datetime64(start, "ns"), np.datetime64(end, "ns")))


def golden(symbol_scale: float) -> Callable[[Asked], Reply]:
    """Two traded minutes and two idle ones; the ask of the last traded minute lacks its row."""
    bid = [(0, 15000, 15040, 14980, 15010, 3.5), (60, 15010, 15010, 15010, 15010, 0.0),
           (120, 15010, 15030, 15000, 15020, 1.25), (180, 15020, 15025, 15015, 15016, 2.0)]  # fmt: skip
    ask = [(0, 15010, 15052, 14988, 15018, 9.5), (60, 15018, 15018, 15018, 15018, 0.0),
           (120, 15020, 15044, 15006, 15030, 4.25)]  # fmt: skip
    return lambda asked: Reply(body=bi5_candles(bid if "BID_" in asked.path else ask))


@pytest.mark.parametrize(("symbol", "scale"), [("EURUSD", 1e5), ("USDJPY", 1e3), ("XAUUSD", 1e3)])
def test_bid_and_ask_minutes_become_mid_bars_with_their_spread(symbol: str, scale: float) -> None:
    with serving(golden(scale)) as server:
        (chunk,) = fetched(server.url, "1m", "2024-02-06", "2024-02-07", symbol)
        assert server.paths == [
            f"/{symbol}/2024/01/06/BID_candles_min_1.bi5",
            f"/{symbol}/2024/01/06/ASK_candles_min_1.bi5",
        ]
    candles = chunk.candles
    assert (chunk.start, chunk.end) == (np.datetime64("2024-02-06"), np.datetime64("2024-02-07"))
    assert candles.side == "mid"
    assert [str(t)[:16] for t in candles.ts_utc] == ["2024-02-06T00:00", "2024-02-06T00:02"]
    np.testing.assert_allclose(candles.open, np.array([15005.0, 15015.0]) / scale)
    np.testing.assert_allclose(candles.high, np.array([15046.0, 15037.0]) / scale)
    np.testing.assert_allclose(candles.low, np.array([14984.0, 15003.0]) / scale)
    np.testing.assert_allclose(candles.close, np.array([15014.0, 15025.0]) / scale)
    np.testing.assert_allclose(candles.spread, np.array([9.5, 10.0]) / scale)
    np.testing.assert_allclose(candles.volume, [3.5, 1.25])
    assert chunk.set_aside is not None
    assert chunk.set_aside["reason"].tolist() == ["one_sided"]
    assert f"{chunk.set_aside['ts_utc'][0]:%H:%M}" == "00:03"


def test_a_week_is_asked_by_days_and_its_closed_hours_leave_no_bar() -> None:
    with serving(dukascopy) as server:
        chunks = fetched(server.url, "1m", "2024-02-02T12:00", "2024-02-06")
        days = ["02", "04", "05"]  # Saturday 3 February is never asked for
        assert server.paths == [
            f"/EURUSD/2024/01/{day}/{side}_candles_min_1.bi5" for day in days for side in ("BID", "ASK")
        ]
    assert [str(chunk.start)[:16] for chunk in chunks] == [
        "2024-02-02T12:00", "2024-02-03T00:00", "2024-02-04T00:00", "2024-02-05T00:00",
    ]  # fmt: skip
    assert [len(chunk.candles) for chunk in chunks] == [600, 0, 120, 1440]
    assert all(first.end == second.start for first, second in pairwise(chunks))
    assert all(chunk.set_aside is None for chunk in chunks)
    assert str(chunks[0].candles.known_at[-1])[:16] == "2024-02-02T22:00"
    assert str(chunks[2].candles.ts_utc[0])[:16] == "2024-02-04T22:00"


FORTNIGHT = ("2024-01-28T22:00", "2024-02-09T22:00")


@pytest.fixture(scope="module")
def minutes() -> tuple[np.ndarray, np.ndarray]:
    """Opens and closes of the minute bars of two weeks."""
    with serving(dukascopy) as server:
        found = [chunk.candles for chunk in fetched(server.url, "1m", *FORTNIGHT)]
    return np.concatenate([bars.ts_utc for bars in found]), np.concatenate([bars.close for bars in found])


@pytest.mark.parametrize("bar", ["5m", "2h", "4h", "1d", "1w"])
def test_slower_bars_are_the_minute_bars_made_slower_and_no_file_is_asked_twice(
    bar: str, minutes: tuple[np.ndarray, np.ndarray]
) -> None:
    times, closes = minutes
    with serving(dukascopy) as server:
        slow = [chunk.candles for chunk in fetched(server.url, bar, *FORTNIGHT)]
        assert len(server.paths) == len(set(server.paths)) == 24
    opens = np.concatenate([bars.ts_utc for bars in slow])
    assert len(opens) == 14_400 // TIMEFRAMES[bar].minutes
    last = np.searchsorted(times, opens + TIMEFRAMES[bar].duration) - 1
    np.testing.assert_array_equal(np.concatenate([bars.close for bars in slow]), closes[last])


@pytest.mark.parametrize("kind", [Reply(404), Reply(200, b"")], ids=["404", "empty body"])
def test_a_day_without_a_file_is_answered_without_bars(kind: Reply) -> None:
    with serving(lambda asked: kind if "/01/06/" in asked.path else dukascopy(asked)) as server:
        chunks = fetched(server.url, "1m", "2024-02-05", "2024-02-08")
        assert len(server.paths) == 6
    assert [len(chunk.candles) for chunk in chunks] == [1440, 0, 1440]


def test_a_day_with_one_side_only_gives_no_bars_but_says_so() -> None:
    with serving(missing_file("01/06/ASK")) as server:
        (chunk,) = fetched(server.url, "1m", "2024-02-06", "2024-02-07")
    assert len(chunk.candles) == 0
    assert chunk.set_aside is not None
    assert set(chunk.set_aside["reason"]) == {"one_sided"}
    assert len(chunk.set_aside) == 1440


@pytest.mark.parametrize(
    "damage",
    [lambda body: body[: len(body) // 2], lambda body: b"<html>busy</html>", lambda body: bi5_candles([])[:10]],
    ids=["cut off", "a page", "a stump"],
)
def test_a_damaged_file_is_fetched_again(damage: Callable[[bytes], bytes]) -> None:
    with serving(dukascopy) as server:
        good = dukascopy(Asked(f"{TUESDAY}/BID_candles_min_1.bi5", {}, {})).body
        server.script = [Reply(200, damage(good)), None]
        (chunk,) = fetched(server.url, "1m", "2024-02-06", "2024-02-07")
        assert server.paths == [f"{TUESDAY}/{side}_candles_min_1.bi5" for side in ("BID", "BID", "ASK")]
    assert len(chunk.candles) == 1440


def test_a_file_that_stays_damaged_ends_the_run_after_the_days_before_it() -> None:
    with serving(lambda asked: Reply(200, b"junk") if "/01/07/" in asked.path else dukascopy(asked)) as server:
        config = Config(base_url=server.url, burst=1000, retries=2, backoff=0.0)
        provider = Dukascopy(config, Seconds(NOW).pace)
        came = []
        with pytest.raises(ProviderError, match=r"2024/01/07/BID_candles_min_1.bi5 after 3 tries"):  # noqa: PT012
            for chunk in provider.fetch(
                "EURUSD", TIMEFRAMES["1m"], np.datetime64("2024-02-06"), np.datetime64("2024-02-09")
            ):
                came.append(chunk)
        assert [str(chunk.end)[:10] for chunk in came] == ["2024-02-07"]
        assert provider.requests == 5


def test_the_running_day_is_not_asked_for_before_its_file_can_be_there() -> None:
    with serving(dukascopy) as server:
        just_over = datetime(2024, 2, 7, 0, 30, tzinfo=UTC)
        assert [len(c.candles) for c in fetched(server.url, "1m", "2024-02-05", "2024-02-08", now=just_over)] == [1440]
        server.asked.clear()
        settled = datetime(2024, 2, 7, 1, 0, tzinfo=UTC)
        assert len(fetched(server.url, "1m", "2024-02-05", "2024-02-08", now=settled)) == 2
        assert not [path for path in server.paths if "/01/07/" in path]
        # a 4h bar that ends on the running day needs its file, so it waits too
        chunks = fetched(server.url, "4h", "2024-02-05", "2024-02-08", now=settled)
        assert str(chunks[-1].end)[:16] == "2024-02-06T22:00"


def test_ticks_become_bars_hour_by_hour() -> None:
    with serving(dukascopy) as server:
        chunks = fetched(server.url, "1m", "2024-02-06T09:00", "2024-02-06T11:00", ticks=True)
        assert server.paths == [f"{TUESDAY}/09h_ticks.bi5", f"{TUESDAY}/10h_ticks.bi5"]
    assert [len(chunk.candles) for chunk in chunks] == [60, 60]
    first = chunks[0].candles
    at = points(datetime(2024, 2, 6, 9, 0, tzinfo=UTC))
    bids = [at + second % 13 for second in (0, 20, 40)]
    np.testing.assert_allclose(first.open[0], (bids[0] + 3) / 1e5)
    np.testing.assert_allclose(first.high[0], (max(bids) + 3) / 1e5)
    np.testing.assert_allclose(first.close[0], (bids[2] + 3) / 1e5)
    np.testing.assert_allclose(first.spread, 6e-5)
    np.testing.assert_array_equal(first.volume, 3)


def test_ticks_out_of_order_are_sorted_and_those_without_a_price_set_aside() -> None:
    rows = [(120_000, 108_010, 108_020), (1_000, 108_000, 108_010), (60_000, 0, 108_010)]
    with serving(lambda asked: Reply(body=bi5_ticks(rows))) as server:
        (chunk,) = fetched(server.url, "1m", "2024-02-06T09:00", "2024-02-06T10:00", ticks=True)
        assert [str(t)[11:16] for t in chunk.candles.ts_utc] == ["09:00", "09:02"]
        assert chunk.set_aside is not None
        assert chunk.set_aside["reason"].tolist() == ["not_positive"]


def test_ticks_and_minutes_are_different_data() -> None:
    names = [Dukascopy(Config(ticks=ticks)).name for ticks in (False, True)]
    assert names == ["dukascopy", "dukascopy_ticks"]
