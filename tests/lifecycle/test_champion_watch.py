"""The drift watch in the live loop: fed after each answer, heard once, saved now and then, and never in the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.lifecycle.champion_watch import BarWatch
from fxgpt_core.lifecycle.drift.columns import drift_table, online_rows
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.reference import DriftReference, build_reference
from fxgpt_core.lifecycle.drift.watch import OnlineVerdict, OnlineWatch, StreamDrift, drift_states
from fxgpt_core.lifecycle.live_loop import LiveLoop, SymbolSource
from fxgpt_core.lifecycle.registry import ModelVersion
from fxgpt_core.policy.live_config import LiveConfig
from fxgpt_core.store.alerts import alerts_between
from fxgpt_core.store.clock import FixedClock
from fxgpt_core.store.database import Database
from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.models import AlertRow
from tests.lifecycle.live_market import HORIZONS, LAYOUT, SPEC, TRAINED, Desk, Folders, SimulatedBars, free, market

CONFIG = DriftConfig(min_windows=4)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    url = f"sqlite:///{tmp_path / 'fxgpt.db'}"
    upgrade(url)
    with closing(Database(url)) as database:
        registry = Folders(tmp_path / "models")
        registry.add("EURUSD", "seasonal_ewma", "champion")
        clock = FixedClock(datetime(2024, 1, 1, tzinfo=UTC))
        yield Desk(database, registry, {"EURUSD": SimulatedBars("EURUSD")}, clock)


@dataclass
class Noted:
    """A watch that writes down what it is asked; `since`: its alarm, in both of its detectors; `fails`: its error."""

    fails: Exception | None = None
    since: str | None = None
    seen: list[np.datetime64] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    saves: int = 0

    def of(self, version: ModelVersion) -> BarWatch:
        self.versions.append(version.version)
        return self

    def observe(self, bars: Dataset, keep: bool = True) -> OnlineVerdict:
        assert not keep
        self.seen.append(bars.known_at[-1])
        if self.fails is not None:
            raise self.fails
        streams = tuple(StreamDrift(name, 9.0, 5.0, 9.5, self.since is not None, self.since, 30)
                        for name in ("online_mmd", "online_cvm"))  # fmt: skip
        return OnlineVerdict("EURUSD", f"EURUSD/{self.versions[-1]}", str(bars.known_at[-1]), 1, streams, ())

    def save(self) -> None:
        self.saves += 1


def loop_of(desk: Desk, watch: Noted) -> LiveLoop:
    sources = {name: SymbolSource(bars, desk.config, 0, watch.of) for name, bars in desk.bars.items()}
    return LiveLoop(sources, desk.registry, desk.database, desk.clock, free)  # type: ignore[arg-type]


def alerts(desk: Desk) -> list[AlertRow]:
    return alerts_between(desk.database, datetime(2023, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))


def test_each_answered_bar_is_watched_and_saved_with_the_sessions(desk: Desk) -> None:
    """Every fiftieth bar and on closing: saving at each bar costs more than watching it."""
    watch, desk.config = Noted(), LiveConfig(backfill_hours=1000)
    with loop_of(desk, watch) as loop:
        desk.at(TRAINED + 20)
        loop.step()
        desk.at(TRAINED + 22)
        loop.step()
        assert watch.seen == list(market("EURUSD").known_at[TRAINED + 20 : TRAINED + 23])
        assert watch.saves == 0
        desk.at(TRAINED + 20 + 49)
        loop.step()
        assert watch.saves == 1
    assert watch.saves == 2
    assert watch.versions == ["1"]


def test_a_new_champion_gets_a_watch_of_its_own(desk: Desk) -> None:
    watch = Noted()
    with loop_of(desk, watch) as loop:
        desk.at(TRAINED + 20)
        loop.step()
        desk.registry.add("EURUSD", "seasonal_ewma", "champion")
        desk.at(TRAINED + 21)
        loop.step()
    assert watch.versions == ["1", "2"]


@pytest.mark.parametrize("error", [DataError("The span is too short."), ZeroDivisionError("oops")])
def test_a_watch_that_fails_is_told_once_and_stops_no_forecast(desk: Desk, error: Exception) -> None:
    watch, told = Noted(fails=error), []
    with loop_of(desk, watch) as loop:
        for bar in range(TRAINED + 20, TRAINED + 20 + 60):
            desk.at(bar)
            step = loop.step()
            assert step.forecasts == 1
            told += step.problems
    assert len(told) == 1
    assert "is not watched for drift" in told[0]
    assert str(error) in told[0]
    assert len(watch.seen) == 2  # tried again, but not at every bar


def test_an_alarm_goes_to_the_outbox_once_also_after_a_restart(desk: Desk) -> None:
    watch = Noted(since="2024-02-20T10:00:00Z")
    for bar in range(TRAINED + 20, TRAINED + 23):
        desk.at(bar)
        with loop_of(desk, watch) as loop:
            assert loop.step().problems == ()
    (alert,) = alerts(desk)
    assert (alert.kind, alert.symbol, alert.severity) == ("drift", "EURUSD", "warning")
    assert [line.split(" since ")[0] for line in alert.body.splitlines()] == [
        "EURUSD: online_mmd is in alarm",
        "EURUSD: online_cvm is in alarm",
    ]
    assert alert.body.count("2024-02-20T10:00:00Z") == 2
    watch.since = "2024-03-01T10:00:00Z"
    desk.at(TRAINED + 24)
    with loop_of(desk, watch) as loop:
        loop.step()
    assert len(alerts(desk)) == 2


def reference_and_bars() -> tuple[DriftReference, Dataset]:
    data = build_dataset(market("EURUSD"), LAYOUT, HORIZONS, SPEC)
    table, at = drift_table(data, CONFIG), data.known_at
    made = build_reference(table, at[200], at[TRAINED], CONFIG, 0, window=online_rows(data, CONFIG))
    return replace(made, model="EURUSD/1"), data


def test_a_watch_saved_now_and_then_says_what_one_saved_at_each_bar_says(desk: Desk) -> None:
    """After a crash it reads again what was not kept; where another process kept more, it goes on from there."""
    reference, data = reference_and_bars()
    states = drift_states(desk.database, reference)
    plain = OnlineWatch(reference, CONFIG, None)
    rare = OnlineWatch(reference, CONFIG, states)
    for bar in range(TRAINED + 1, TRAINED + 121):
        until = data.head(bar + 1)
        expected = plain.observe(until)
        found = rare.observe(until, keep=False)
        assert (found.as_of, found.streams) == (expected.as_of, expected.streams)
        assert found.rows == {81: 21, 91: 0, 101: 7}.get(bar - TRAINED, 1)
        if bar == TRAINED + 60:
            assert states.latest() is None
            rare.save()
            rare.save()  # nothing new: nothing to keep
            first = states.latest()
            assert first is not None
            assert (first.number, first.as_of) == (1, data.known_at[bar])
        if bar == TRAINED + 80:
            rare = OnlineWatch(reference, CONFIG, states)  # died without saving
        if bar == TRAINED + 90:
            OnlineWatch(reference, CONFIG, states).observe(data.head(bar + 2))  # the daily verdict, in another process
        if bar == TRAINED + 100:
            assert (
                rare.observe(data.head(TRAINED + 95), keep=False).as_of == f"{str(data.known_at[TRAINED + 94])[:19]}Z"
            )
    rare.save()
    newest = states.latest()
    assert newest is not None
    assert newest.as_of == data.known_at[TRAINED + 120]
