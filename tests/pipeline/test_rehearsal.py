"""The living system on simulated markets and a set clock: what it does by itself, and what it leaves alone."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.providers.provider import Pace, ProviderError
from fxgpt_core.market.providers.simulator import Config, SimulatedMarket, Turn, simulate
from fxgpt_core.store.clock import FixedClock
from fxgpt_pipeline.rehearsal.rehearsal import Rehearsal, rehearse
from fxgpt_pipeline.rehearsal.script import PARTS, Script

HOUR = timeframe("1h")
SILENT = next(part for part in PARTS if part.what == "outage")


def played(script: Script, root: Path) -> Rehearsal:
    lines: list[str] = []
    done = rehearse(script, root, lines.append)
    assert lines == [event.line for event in done.events]
    assert [run for run in done.runs if not run.success and run.job != "refresh"] == []
    return done


@pytest.mark.timeout(1500)
def test_a_silent_feed_is_told_of_and_retrains_nothing(tmp_path: Path) -> None:
    script = Script(days=3, history_days=120, happens_after=1, outage_hours=18, parts=(SILENT,), families=("ewma",))
    before = dict(os.environ)
    done = played(script, tmp_path)
    assert dict(os.environ) == before
    assert [event.at for event in done.of(SILENT.symbol, "alias")] == [script.begin]  # the first training's champion
    told = done.of(SILENT.symbol, "stale_data")
    assert len(told) == 1
    assert timedelta(hours=6) < told[0].at - script.happens_at < timedelta(hours=6 + 18)
    assert [event.text for event in done.of(SILENT.symbol, "retraining")] == ["first training (done)"]
    assert done.forecasts > 3 * 20  # what the silence kept back is made up for when the bars come


@pytest.mark.deep
@pytest.mark.timeout(2400)
def test_a_calm_market_retrains_by_age_alone_and_a_broken_one_once_by_drift(tmp_path: Path) -> None:
    calm, broken = (part for part in PARTS if part.what != "outage")
    script = Script(days=9, happens_after=1, retrain_days=7.0, parts=(calm, broken), families=("ewma", "seasonal_ewma"))
    done = played(script, tmp_path)
    causes = {part.symbol: [event.text.split(":")[0] for event in done.of(part.symbol, "retraining")]
              for part in script.parts}  # fmt: skip
    assert causes[calm.symbol] == ["first training (done)", "schedule"]
    assert done.of(calm.symbol, "drift") == []
    assert causes[broken.symbol][:2] == ["first training (done)", "drift"]
    assert causes[broken.symbol].count("drift") == 1
    began = done.of(broken.symbol, "drift")[0].at
    assert timedelta(0) < began - script.happens_at < timedelta(days=4)
    shadows = [event for event in done.of(broken.symbol, "alias") if event.text.startswith("shadow")]
    assert shadows[0].at >= began  # what the broken market brought runs beside the champion and replaces nothing
    champions = [event for event in done.of(broken.symbol, "alias") if event.text.startswith("champion")]
    assert [event.at for event in champions] == [script.begin]


def test_a_market_that_turns_is_the_same_until_then_and_wilder_after() -> None:
    start = np.datetime64("2024-01-01", "ns")
    turn = Turn.model_validate({"since": "2024-03-01", "volatility": 3.0, "rhythm_hours": 12})
    plain, turned = (simulate("EURUSD", HOUR, start=start, bars=2500, seed=3, turns=t) for t in ((), (turn,)))
    later = plain.ts_utc >= np.datetime64("2024-03-01")
    np.testing.assert_array_equal(plain.close[~later], turned.close[~later])
    size = [np.abs(np.diff(np.log(bars.close[later]))) for bars in (plain, turned)]
    assert 2.2 < size[1].mean() / size[0].mean() < 3.3
    hours = (
        (plain.ts_utc[later][1:] - plain.ts_utc[later][1:].astype("datetime64[D]")).astype("timedelta64[h]").astype(int)
    )
    busiest = [int(np.argmax([part[hours == hour].mean() for hour in range(24)])) for part in size]
    assert (busiest[0] - busiest[1]) % 24 in range(9, 16)


def test_a_provider_in_an_outage_says_so_and_has_the_bars_afterwards() -> None:
    outage = {"since": "2024-01-10T06:00Z", "until": "2024-01-11T06:00Z"}
    config = Config.model_validate({"since": "2024-01-01", "days": 20, "outages": [outage]})
    clock = FixedClock(Script().begin.replace(2024, 1, 10, 12))
    market = SimulatedMarket(config, Pace(clock=clock))
    span = np.datetime64("2024-01-09", "ns"), np.datetime64("2024-01-12", "ns")
    with pytest.raises(ProviderError, match="cannot be reached until 2024-01-11"):
        list(market.fetch("EURUSD", HOUR, *span))
    clock.advance(timedelta(days=2))
    found = list(market.fetch("EURUSD", HOUR, *span))
    whole = SimulatedMarket(config.model_copy(update={"outages": ()}), Pace(clock=clock))
    assert sum(len(chunk.candles) for chunk in found) == 72
    assert market.name == whole.name


def test_what_happens_after_the_end_is_refused() -> None:
    with pytest.raises(BadInputError, match="give more days"):
        Script(days=10, happens_after=21)
