"""Providers by name, and the sample and the simulator behind the same seam."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from provider_servers import Seconds

from fxgpt_core.common.errors import BadInputError, ConfigError
from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.market.providers.dukascopy import Dukascopy
from fxgpt_core.market.providers.provider import Chunk, Provider
from fxgpt_core.market.providers.registry import PROVIDERS, config_type, lag_hours, provider
from fxgpt_core.market.providers.sample import sample_candles
from fxgpt_core.market.resampling import resample
from fxgpt_core.store.clock import FixedClock

NOW = datetime(2024, 3, 6, 12, 2, 30, tzinfo=UTC)
REMOTE = ("dukascopy", "tiingo", "alpha_vantage")


def fetched(source: Provider, bar: str, start: str, end: str, symbol: str = "EURUSD") -> list[Chunk]:
    return list(source.fetch(symbol, TIMEFRAMES[bar], np.datetime64(start, "ns"), np.datetime64(end, "ns")))


def test_every_registered_provider_can_be_made_and_remote_ones_share_their_options() -> None:
    for name in PROVIDERS:
        fields = set(config_type(name).model_fields)
        assert ({"base_url", "timeout", "retries", "settling_minutes"} <= fields) == (name in REMOTE)


def test_a_provider_is_made_by_name_with_its_options() -> None:
    made = provider("dukascopy", {"ticks": True, "timeout": 5}, clock=FixedClock(NOW))
    assert isinstance(made, Dukascopy)
    assert (made.name, made.side) == ("dukascopy_ticks", "mid")


@pytest.mark.parametrize(
    ("name", "options", "error", "sentence"),
    [
        ("dukascopi", {}, BadInputError, "no provider 'dukascopi'; did you mean 'dukascopy'"),
        ("dukascopy", {"tick": True}, ConfigError, "unknown key 'tick'; did you mean 'ticks'"),
        ("dukascopy", {"timeout": 0}, ConfigError, "timeout is 0, but must be > 0"),
        ("dukascopy", {"base_url": "ftp://x"}, ConfigError, "base_url"),
    ],
)
def test_wrong_names_and_options_are_refused(
    name: str, options: dict[str, object], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        provider(name, options)


def test_a_provider_says_how_late_its_bars_come() -> None:
    assert lag_hours("dukascopy") == 25.0
    assert lag_hours("dukascopy", {"ticks": True, "settling_minutes": 30}) == 1.5
    assert [lag_hours(name) for name in ("tiingo", "sample")] == [0.0, 0.0]


def test_the_sample_gives_its_bars_and_slower_ones() -> None:
    source = provider("sample")
    (chunk,) = fetched(source, "1h", "2017-05-01", "2017-06-01")
    whole = sample_candles()
    inside = (whole.ts_utc >= np.datetime64("2017-05-01")) & (whole.ts_utc < np.datetime64("2017-06-01"))
    np.testing.assert_array_equal(chunk.candles.close, whole.close[inside])
    (slow,) = fetched(source, "4h", "2017-05-01T01:00", "2017-06-01T01:00")
    expected = resample(whole, "4h")
    np.testing.assert_array_equal(slow.candles.ts_utc[0], expected.ts_utc[expected.ts_utc >= chunk.start][0])
    for symbol, bar in (("GBPUSD", "1h"), ("EURUSD", "5m")):
        with pytest.raises(BadInputError, match="The sample holds EURUSD bars of 1h and slower"):
            fetched(source, bar, "2017-05-01", "2017-06-01", symbol)


def test_the_simulated_market_is_the_same_however_it_is_asked_for() -> None:
    source, again = (provider("simulator", {"seed": 7}, pace=Seconds(NOW).pace) for _ in range(2))
    whole = fetched(source, "1h", "2024-01-10", "2024-03-05")
    parts = [
        c for span in (("2024-01-10", "2024-02-10"), ("2024-02-10", "2024-03-05")) for c in fetched(again, "1h", *span)
    ]
    assert [str(chunk.end)[:10] for chunk in whole] == ["2024-02-01", "2024-03-01", "2024-03-05"]
    np.testing.assert_array_equal(
        np.concatenate([c.candles.close for c in whole]), np.concatenate([c.candles.close for c in parts])
    )
    assert source.name == again.name != provider("simulator", {"seed": 8}).name
    (running,) = fetched(source, "1h", "2024-03-06", "2024-03-07")
    assert str(running.candles.ts_utc[-1])[:16] == "2024-03-06T11:00"
