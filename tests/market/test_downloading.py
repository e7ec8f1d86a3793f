"""Downloads: only what is missing is asked for, what broke off is carried on, and the lake has what came."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from provider_servers import (
    Asked,
    ProviderServer,
    Reply,
    Seconds,
    bi5_candles,
    dukascopy,
    missing_file,
    serving,
    tiingo,
)

from fxgpt_core.common.errors import BadInputError, DataError, StoreError
from fxgpt_core.common.timeframes import TIMEFRAMES, Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.bars import CANDLES, Source, bar_keys, checksum, store_given
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.history import load_candles, update_candles
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.providers.downloading import BrokenOff, DownloadSummary, download, missing_spans
from fxgpt_core.market.providers.dukascopy import Config, Dukascopy
from fxgpt_core.market.providers.http import Key
from fxgpt_core.market.providers.ledger import DOWNLOADS, answered_spans, ledger_keys, record_answer
from fxgpt_core.market.providers.provider import Chunk, ProviderError, QuotaError, no_bars
from fxgpt_core.market.providers.simulator import Config as SimulatorConfig
from fxgpt_core.market.providers.simulator import SimulatedMarket, simulate
from fxgpt_core.market.providers.tiingo import Config as TiingoConfig
from fxgpt_core.market.providers.tiingo import Tiingo
from fxgpt_core.market.quality.assessment import assess
from fxgpt_core.market.quarantine import QUARANTINE

NOW = datetime(2024, 3, 6, 12, 0, tzinfo=UTC)
M1, H1 = TIMEFRAMES["1m"], TIMEFRAMES["1h"]
FAST: dict[str, Any] = {"requests_per_minute": 60_000, "burst": 1000, "timeout": 30.0, "backoff": 0.0, "retries": 1}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", timeout=0.2)


@pytest.fixture
def feed() -> Iterator[ProviderServer]:
    with serving(dukascopy) as server:
        yield server


def get(
    lake: Lake,
    server: ProviderServer,
    start: str,
    end: str,
    bar: Timeframe = M1,
    now: datetime = NOW,
    months: tuple[str, ...] = (),
    **options: Any,
) -> DownloadSummary:
    """Download EURUSD from a local Dukascopy."""
    pace = Seconds(now).pace
    provider = Dukascopy(Config(base_url=server.url, **{**FAST, **options}), pace)
    return download(lake, provider, "EURUSD", bar, at(start), at(end), QualityConfig(), pace.clock, months=months)


def at(text: str) -> np.datetime64:
    return np.datetime64(text, "ns")


def files(days: list[str], month: str = "01") -> list[str]:
    """Return the paths of the minute files of days of 2024, bid and ask; months count from 00."""
    return [f"/EURUSD/2024/{month}/{day}/{side}_candles_min_1.bi5" for day in days for side in ("BID", "ASK")]


def open_spans(lake: Lake, start: str, end: str, now: datetime = NOW, bar: Timeframe = M1) -> list[tuple[str, str]]:
    spans = missing_spans(lake, "dukascopy", "EURUSD", bar, at(start), at(end), now)
    return [(str(first)[:16], str(last)[:16]) for first, last in spans]


def test_bars_come_into_the_lake_and_nothing_is_asked_for_twice(lake: Lake, feed: ProviderServer) -> None:
    assert open_spans(lake, "2024-02-02", "2024-02-10") == [("2024-02-02T00:00", "2024-02-09T22:00")]
    summary = get(lake, feed, "2024-02-02", "2024-02-07")
    assert feed.paths == files(["02", "04", "05", "06"])
    assert (summary.answered_bars, summary.rows_changed, summary.requests) == (1320 + 120 + 2880, 4320, 8)
    assert (summary.first, summary.last) == ("2024-02-02T00:00:00Z", "2024-02-07T00:00:00Z")
    assert summary.open_from is None
    stored = load_candles(lake, "EURUSD", M1)
    assert len(stored) == 4320
    assert stored.side == "mid"
    feed.asked.clear()
    again = get(lake, feed, "2024-02-02", "2024-02-07")
    assert feed.paths == []
    assert (again.asked, again.answered_bars, again.requests) == ((), 0, 0)
    get(lake, feed, "2024-02-01", "2024-02-09")
    assert feed.paths == files(["01", "07", "08"])


def test_a_week_is_stored_as_the_feed_has_it(lake: Lake, feed: ProviderServer) -> None:
    get(lake, feed, "2024-02-05", "2024-02-07")
    stored = load_candles(lake, "EURUSD", M1)
    provider = Dukascopy(Config(base_url=feed.url, **FAST), Seconds(NOW).pace)
    came = [chunk.candles for chunk in provider.fetch("EURUSD", M1, at("2024-02-05"), at("2024-02-07"))]
    for name in ("ts_utc", "open", "high", "low", "close", "volume", "spread"):
        np.testing.assert_array_equal(getattr(stored, name), np.concatenate([getattr(bars, name) for bars in came]))


def test_a_server_that_dies_in_the_middle_is_carried_on_with(lake: Lake, feed: ProviderServer) -> None:
    feed.script = [None, None, None, Reply(500), Reply(500)]
    with pytest.raises(BrokenOff, match=r"after 2 tries: status 500\. 1440 bars came before") as caught:
        get(lake, feed, "2024-02-05", "2024-02-08")
    assert feed.paths == [*files(["05", "06"]), files(["06"])[1]]
    assert caught.value.summary.answered_bars == 1440
    assert caught.value.summary.open_from == "2024-02-06T00:00:00Z"
    assert caught.value.exit_code == 1
    assert open_spans(lake, "2024-02-05", "2024-02-08") == [("2024-02-06T00:00", "2024-02-08T00:00")]
    feed.asked.clear()
    assert get(lake, feed, "2024-02-05", "2024-02-08").answered_bars == 2880
    assert feed.paths == files(["06", "07"])
    assert len(load_candles(lake, "EURUSD", M1)) == 3 * 1440


def test_a_kill_between_the_bars_and_the_ledger_costs_one_chunk(
    lake: Lake, feed: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fxgpt_core.market.providers import downloading

    recorded = []

    def killed(*arguments: Any) -> None:
        recorded.append(arguments)
        if len(recorded) == 2:
            raise KeyboardInterrupt
        original(*arguments)

    original = downloading.record_answer
    monkeypatch.setattr(downloading, "record_answer", killed)
    with pytest.raises(KeyboardInterrupt):
        get(lake, feed, "2024-02-05", "2024-02-08")
    monkeypatch.undo()
    feed.asked.clear()
    summary = get(lake, feed, "2024-02-05", "2024-02-08")
    assert feed.paths == files(["06", "07"])
    assert (summary.answered_bars, summary.rows_changed) == (2880, 1440)


def test_a_kill_inside_the_storing_of_a_chunk_leaves_a_lake_that_carries_on(
    lake: Lake, feed: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    upserts = []
    original = Lake.upsert

    def killed(self: Lake, *arguments: Any, **options: Any) -> int:
        upserts.append(arguments)
        if len(upserts) == 2:
            raise KeyboardInterrupt
        return original(self, *arguments, **options)

    monkeypatch.setattr(Lake, "upsert", killed)
    with pytest.raises(KeyboardInterrupt):
        get(lake, feed, "2024-02-05", "2024-02-07")
    monkeypatch.undo()
    feed.asked.clear()
    get(lake, feed, "2024-02-05", "2024-02-07")
    assert feed.paths == files(["06"])
    stored, manifest = load_candles(lake, "EURUSD", M1), lake.read_manifest(CANDLES, bar_keys("EURUSD", M1))
    assert len(stored) == 2880
    assert manifest is not None
    assert "writing" not in manifest.extra
    assert manifest.parts["month=2024-02"].rows == 2880
    assert manifest.parts["month=2024-02"].checksum == checksum(stored)


@pytest.mark.parametrize("kind", [Reply(404), Reply(200, b"")], ids=["404", "empty"])
def test_a_day_without_data_is_remembered(lake: Lake, kind: Reply) -> None:
    with serving(lambda asked: kind if "/01/06/" in asked.path else dukascopy(asked)) as server:
        summary = get(lake, server, "2024-02-05", "2024-02-08")
        assert (summary.answered_bars, summary.empty_chunks, summary.chunks) == (2880, 1, 3)
        server.asked.clear()
        get(lake, server, "2024-02-05", "2024-02-08")
        assert server.paths == []


def test_a_history_without_a_bar_is_remembered_and_said(lake: Lake) -> None:
    with serving(missing_file("EURUSD")) as server:
        summary = get(lake, server, "2024-02-05", "2024-02-07")
        assert any("no bar of EURUSD" in warning for warning in summary.warnings)
        assert len(get(lake, server, "2024-02-05", "2024-02-07").asked) == 0
        assert len(server.asked) == 4


def test_what_is_not_over_or_not_settled_stays_open(lake: Lake, feed: ProviderServer) -> None:
    noon = datetime(2024, 2, 6, 12, 0, tzinfo=UTC)
    summary = get(lake, feed, "2024-02-05", "2024-02-10", now=noon)
    assert feed.paths == files(["05"])
    assert summary.open_from == "2024-02-06T00:00:00Z"
    assert open_spans(lake, "2024-02-05", "2024-02-10", noon) == [("2024-02-06T00:00", "2024-02-06T12:00")]
    feed.asked.clear()
    get(lake, feed, "2024-02-05", "2024-02-10", now=noon + timedelta(hours=13))
    assert feed.paths == files(["06"])


def test_bars_within_the_settling_time_are_stored_and_asked_for_again(lake: Lake) -> None:
    now = datetime(2024, 2, 6, 10, 2, tzinfo=UTC)
    with serving(tiingo(datetime(2024, 3, 1, tzinfo=UTC))) as server:

        def run(moment: datetime) -> DownloadSummary:
            pace = Seconds(moment).pace
            config = TiingoConfig(base_url=server.url, **FAST)
            provider = Tiingo(config, Key("TIINGO_API_KEY", "secret-key"), pace)
            bar, quality = TIMEFRAMES["5m"], QualityConfig()
            return download(lake, provider, "EURUSD", bar, at("2024-02-05"), at("2024-02-09"), quality, pace.clock)

        first = run(now)
        assert (first.last, first.open_from) == ("2024-02-06T10:00:00Z", "2024-02-06T09:45:00Z")
        second = run(now + timedelta(minutes=3))
        assert second.asked == (("2024-02-06T09:45:00Z", "2024-02-06T10:05:00Z"),)
        assert (second.answered_bars, second.rows_changed) == (4, 1)
        assert [a.parameters["startDate"] for a in server.asked] == ["2024-02-05", "2024-02-06"]


def test_a_running_bar_never_reaches_the_lake(lake: Lake) -> None:
    pace = Seconds(datetime(2024, 2, 6, 10, 40, tzinfo=UTC)).pace
    with serving(tiingo(datetime(2024, 3, 1, tzinfo=UTC))) as server:
        provider = Tiingo(TiingoConfig(base_url=server.url, **FAST), Key("TIINGO_API_KEY", "secret-key"), pace)
        download(lake, provider, "EURUSD", H1, at("2024-02-06"), at("2024-02-07"), QualityConfig(), pace.clock)
    assert str(load_candles(lake, "EURUSD", H1).ts_utc[-1])[:16] == "2024-02-06T09:00"


def test_named_months_are_fetched_anew_and_nothing_else(lake: Lake, feed: ProviderServer) -> None:
    get(lake, feed, "2024-01-30", "2024-02-02")
    feed.asked.clear()
    summary = get(lake, feed, "2024-01-29", "2024-02-06", months=("2024-02",))
    assert feed.paths == [*files(["31"], "00"), *files(["01", "02", "04", "05"])]
    assert summary.asked[0][0] == "2024-01-31T23:59:00Z"  # the bar that closes in February
    assert open_spans(lake, "2024-01-29", "2024-02-06") == [("2024-01-29T00:00", "2024-01-30T00:00")]
    with pytest.raises(BadInputError, match="Month '2024-2' is not written as YYYY-MM"):
        get(lake, feed, "2024-01-29", "2024-02-06", months=("2024-2",))


def test_a_changed_answer_replaces_the_bars_of_a_month_that_is_fetched_anew(lake: Lake, feed: ProviderServer) -> None:
    get(lake, feed, "2024-02-05", "2024-02-06")
    rows = [(minute * 60, 109_000, 109_010, 108_990, 109_005, 1.0) for minute in range(1440)]
    feed.respond = lambda asked: Reply(body=bi5_candles(rows))
    summary = get(lake, feed, "2024-02-05", "2024-02-06", months=("2024-02",))
    assert summary.rows_changed == 1440
    np.testing.assert_allclose(load_candles(lake, "EURUSD", M1).open, 1.09)


def test_rows_that_are_no_bars_are_quarantined_with_their_reason(lake: Lake) -> None:
    def respond(asked: Asked) -> Reply:
        good = (108_000, 108_010, 107_990, 108_005, 1.0)
        crossed, unpriced = (108_000, 107_000, 109_000, 108_005, 1.0), (0, 108_010, 107_990, 108_005, 1.0)
        rows = [(0, *good), (60, *crossed), (180, *unpriced), (150, *good)]
        return Reply(body=bi5_candles(rows))

    with serving(respond) as server:
        summary = get(lake, server, "2024-02-05", "2024-02-06")
    assert summary.answered_bars == 1
    assert summary.quarantined == {"high_below_low": 2, "not_positive": 2, "off_grid": 2}
    kept = lake.read(QUARANTINE, {"symbol": "EURUSD"}).to_pandas()
    assert sorted(kept["reason"]) == ["high_below_low"] * 2 + ["not_positive"] * 2 + ["off_grid"] * 2
    assert set(kept["source"]) == {"dukascopy EURUSD 1m 2024-02"}


def test_the_manifest_grows_by_months_not_by_chunks(lake: Lake, feed: ProviderServer) -> None:
    get(lake, feed, "2024-01-29", "2024-02-08")
    manifest = lake.read_manifest(CANDLES, bar_keys("EURUSD", M1))
    assert manifest is not None
    names = [facts["name"] for facts in manifest.extra["files"].values()]
    assert sorted(names) == ["dukascopy EURUSD 1m 2024-01", "dukascopy EURUSD 1m 2024-02"]
    ledger = lake.read_manifest(DOWNLOADS, ledger_keys("dukascopy", "EURUSD", M1))
    assert ledger is not None
    assert len(ledger.extra["spans"]) == 1


def test_a_month_counts_the_rows_of_all_its_pieces_once(lake: Lake, feed: ProviderServer) -> None:
    def rows() -> int:
        manifest = lake.read_manifest(CANDLES, bar_keys("EURUSD", M1))
        assert manifest is not None
        return sum(int(facts["rows"]) for facts in manifest.extra["files"].values())

    get(lake, feed, "2024-02-05", "2024-02-06")
    get(lake, feed, "2024-02-06", "2024-02-08")
    assert rows() == 3 * 1440
    get(lake, feed, "2024-02-05", "2024-02-06", months=("2024-02",))
    assert rows() == 3 * 1440


def test_weekends_leave_no_trace_in_the_ledger(lake: Lake, feed: ProviderServer) -> None:
    get(lake, feed, "2024-02-01", "2024-02-02T22:00")
    get(lake, feed, "2024-02-04T22:00", "2024-02-06")
    assert answered_spans(lake, "dukascopy", "EURUSD", M1) == [(at("2024-02-01"), at("2024-02-06"))]


def test_without_its_bars_a_ledger_counts_for_nothing(lake: Lake, feed: ProviderServer) -> None:
    import shutil

    get(lake, feed, "2024-02-05", "2024-02-06")
    shutil.rmtree(Path(lake.root) / CANDLES)
    feed.asked.clear()
    assert get(lake, feed, "2024-02-05", "2024-02-06").answered_bars == 1440
    assert feed.paths == files(["05"])


def test_slower_timeframes_are_derived_from_what_came(lake: Lake, feed: ProviderServer) -> None:
    get(lake, feed, "2024-02-05", "2024-02-07")
    summary = update_candles(lake, "EURUSD", [M1, H1, TIMEFRAMES["4h"]], "import", QualityConfig(), "mid")
    assert summary.rows["1m"] == 2880
    assert summary.rows["1h"] == 48
    assert summary.failures == ()


def test_bars_of_another_side_are_refused_with_the_lake_as_it_was(lake: Lake, feed: ProviderServer) -> None:
    bid = simulate("EURUSD", "1m", start=at("2024-02-05"), bars=60, seed=1)
    bid = Candles(**{**bid.__dict__, "side": "bid"})
    judged = assess(bid.to_frame().reset_index(), "EURUSD", M1)
    store_given(lake, bid, judged, Source("mine.csv", "abc", {"layout": "csv"}))
    with pytest.raises(BadInputError, match="holds bid bars"):
        get(lake, feed, "2024-02-05", "2024-02-07")
    assert answered_spans(lake, "dukascopy", "EURUSD", M1) == []
    assert len(load_candles(lake, "EURUSD", M1)) == 60


def test_two_processes_do_not_ask_for_the_same(lake: Lake, feed: ProviderServer) -> None:
    with lake.lock(DOWNLOADS, ledger_keys("dukascopy", "EURUSD", M1)), pytest.raises(StoreError):
        get(Lake(lake.root, timeout=0.05), feed, "2024-02-05", "2024-02-07")
    assert feed.paths == []


def test_ticks_and_minutes_have_ledgers_of_their_own(lake: Lake, feed: ProviderServer) -> None:
    get(lake, feed, "2024-02-05T10:00", "2024-02-05T12:00", ticks=True)
    assert feed.paths == ["/EURUSD/2024/01/05/10h_ticks.bi5", "/EURUSD/2024/01/05/11h_ticks.bi5"]
    assert open_spans(lake, "2024-02-05T10:00", "2024-02-05T12:00") == [("2024-02-05T10:00", "2024-02-05T12:00")]


def test_an_hour_of_ticks_that_came_is_not_asked_for_again(lake: Lake, feed: ProviderServer) -> None:
    feed.script = [None, None, Reply(500), Reply(500)]
    with pytest.raises(BrokenOff):
        get(lake, feed, "2024-02-05T08:00", "2024-02-05T12:00", ticks=True)
    feed.asked.clear()
    get(lake, feed, "2024-02-05T08:00", "2024-02-05T12:00", ticks=True)
    assert feed.paths == ["/EURUSD/2024/01/05/10h_ticks.bi5", "/EURUSD/2024/01/05/11h_ticks.bi5"]


class Torn:
    """A provider whose chunks do not follow each other."""

    name, side = "torn", "mid"

    def fetch(self, symbol: str, timeframe: Timeframe, start: np.datetime64, end: np.datetime64) -> Iterator[Chunk]:
        hour = np.timedelta64(1, "h")
        yield Chunk(start, start + hour, no_bars(symbol, timeframe, self.side))
        yield Chunk(start + 2 * hour, end, no_bars(symbol, timeframe, self.side))


def test_a_gap_between_chunks_is_never_recorded_as_answered(lake: Lake) -> None:
    clock = Seconds(NOW).clock
    with pytest.raises(DataError, match="not contiguous"):
        download(lake, Torn(), "EURUSD", H1, at("2024-02-05"), at("2024-02-06"), QualityConfig(), clock)
    spans = answered_spans(lake, "torn", "EURUSD", H1)
    assert spans == [(at("2024-02-05T00:00"), at("2024-02-05T01:00"))]


@pytest.mark.parametrize("bar", ["1h", "2h", "4h", "1d", "1w"])
def test_what_is_missing_is_every_bar_that_was_not_answered(tmp_path: Path, bar: str) -> None:
    """Against a plain grid, over a clock change, with random answers from and to any bar."""
    frame, draw = TIMEFRAMES[bar], np.random.default_rng(4)
    now = datetime(2023, 12, 10, 13, 0, tzinfo=UTC)
    start, end = at("2023-10-01"), at("2023-12-20")
    opens = calendar.bar_opens(start, end, frame)
    opens = opens[opens + frame.duration <= at("2023-12-10T13:00")]
    for trial in range(20):
        lake, wanted = Lake(tmp_path / str(trial)), np.ones(len(opens), dtype=bool)
        for _ in range(draw.integers(0, 6)):
            first, last = np.sort(draw.integers(0, len(opens), 2))
            record_answer(lake, "any", "EURUSD", frame, (opens[first], opens[last] + frame.duration), 0)
            wanted[first : last + 1] = False
        found = np.zeros(len(opens), dtype=bool)
        for first, last in missing_spans(lake, "any", "EURUSD", frame, start, end, now):
            assert not found[(opens >= first) & (opens < last)].any()
            found |= (opens >= first) & (opens < last)
            assert first in opens
            assert last - frame.duration in opens
        np.testing.assert_array_equal(found, wanted)


def test_the_name_of_a_provider_may_be_a_path() -> None:
    keys = [ledger_keys(name, "EURUSD", H1)["provider"] for name in ("files:/a/b", "files:/a_b", "tiingo")]
    assert keys[0].startswith("files_a_b_")
    assert len({*keys, keys[1]}) == 3
    assert keys[2] == "tiingo"


class OutOfAllowance:
    """A provider that answers one month and then no more."""

    name, side = "allowance", "mid"

    def fetch(self, symbol: str, timeframe: Timeframe, start: np.datetime64, end: np.datetime64) -> Iterator[Chunk]:
        yield next(SimulatedMarket(SimulatorConfig(), Seconds(NOW).pace).fetch(symbol, timeframe, start, end))
        raise QuotaError("No more for today: go on after 2024-03-07 00:00:00 UTC.", NOW)


def test_a_quota_keeps_what_came_and_says_when_to_go_on(lake: Lake) -> None:
    clock = Seconds(NOW).clock
    with pytest.raises(BrokenOff, match="go on after 2024-03-07") as caught:
        download(lake, OutOfAllowance(), "EURUSD", H1, at("2024-01-10"), at("2024-03-01"), QualityConfig(), clock)
    assert isinstance(caught.value.cause, QuotaError)
    assert isinstance(caught.value, ProviderError)
    assert len(load_candles(lake, "EURUSD", H1)) == caught.value.summary.answered_bars > 300
    assert caught.value.summary.open_from == "2024-02-01T00:00:00Z"


def test_progress_counts_bars_and_ends(lake: Lake, feed: ProviderServer) -> None:
    said: list[tuple[str, int, int]] = []
    provider = Dukascopy(Config(base_url=feed.url, **FAST), Seconds(NOW).pace)
    download(
        lake, provider, "eur/usd", "1m", at("2024-02-05"), at("2024-02-07"), QualityConfig(), Seconds(NOW).clock,
        lambda what, done, total, note="": said.append((what, done, total)),
    )  # fmt: skip
    assert said == [("dukascopy EURUSD 1m", done, 2880) for done in (1440, 2879, 2880)]
