"""`rehearse`: a quarter of the living system in minutes, bar by bar, on the product's own clock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from fxgpt_core.common.errors import FxgptError
from fxgpt_core.store.clock import FixedClock
from fxgpt_core.store.paths import Home, config_dir
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.homes import prepare
from fxgpt_pipeline.living import live_loop
from fxgpt_pipeline.rehearsal.daemon import Ran, RehearsedDaemon
from fxgpt_pipeline.rehearsal.script import Script
from fxgpt_pipeline.rehearsal.timeline import Event, Week, answered, events_between
from fxgpt_pipeline.runs import LINEAGE_JOB
from fxgpt_pipeline.workspace import Workspace

_ELSEWHERE = ("FXGPT_LAKE", "FXGPT_DATABASE_URL", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
"""What would lead a rehearsal into stores that are in use."""

Tell = Callable[[str], None]


@dataclass
class Rehearsal:
    """What a rehearsal showed: the timeline, the runs behind it, weekly coverage of answers, and forecasts made."""

    script: Script
    events: list[Event] = field(default_factory=list)
    runs: list[Ran] = field(default_factory=list)
    weeks: list[Week] = field(default_factory=list)
    forecasts: int = 0

    def of(self, symbol: str, kind: str) -> list[Event]:
        """Return one symbol's events of one kind."""
        return [one for one in self.events if one.symbol == symbol and one.kind == kind]

    def coverage(self, symbol: str) -> list[float]:
        """Return a symbol's coverage week by week."""
        return [week.coverage for week in self.weeks if week.symbol == symbol]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "begin": self.script.begin.isoformat(),
            "end": self.script.end.isoformat(),
            "happens_at": self.script.happens_at.isoformat(),
            "parts": {part.symbol: part.what for part in self.script.parts},
            "forecasts": self.forecasts,
            "events": [one.to_dict() for one in self.events],
            "runs": [{"at": r.at.isoformat(), "job": r.job, "symbol": r.symbol, "cause": r.cause, "error": r.error}
                     for r in self.runs],
            "coverage": {part.symbol: self.coverage(part.symbol) for part in self.script.parts},
        }  # fmt: skip


def rehearse(script: Script, root: Path, tell: Tell, tick_hours: int = 6) -> Rehearsal:
    """Play `script` in a new home under `root`, an empty or new folder; `tell` hears every line of the timeline.

    Every hour of open market the live loop forecasts; every `tick_hours` schedules and sensors are evaluated as
    Dagster's daemon would, and what they request runs here. Raises FxgptError where the first training fails.
    """
    configs, home = root / "configs", Home(root / "home")
    script.write(config_dir(), configs)
    done = Rehearsal(script)
    with _environment(home, configs):
        clock = FixedClock(script.begin)
        workspace = Workspace(home, configs, clock)
        prepare(workspace)
        with dg.DagsterInstance.get() as instance:
            daemon = RehearsedDaemon(build_definitions(workspace), workspace, instance, script.begin)
            done.runs = daemon.ran
            for part in script.parts:
                if not daemon.run(LINEAGE_JOB, part.symbol, "first training"):
                    raise FxgptError(f"The first training of {part.symbol} failed: {done.runs[-1].error}")
            _tell(done, workspace, script.begin - timedelta(seconds=1), tell)
            _play(done, workspace, clock, daemon, tell, tick_hours)
    return done


def _play(
    done: Rehearsal, workspace: Workspace, clock: FixedClock, daemon: RehearsedDaemon, tell: Tell, tick_hours: int
) -> None:
    script, week = done.script, done.script.begin
    with live_loop(workspace) as loop:
        for hour in range(1, script.days * 24 + 1):
            before = clock.now()
            clock.advance(script.begin + timedelta(hours=hour, minutes=1) - before)
            done.forecasts += loop.step().forecasts
            if hour % tick_hours == 0:
                daemon.tick()
            _tell(done, workspace, before, tell)
            # A day later, when the outcomes of a week's last answers are known.
            if clock.now() - week >= timedelta(days=8):
                _weigh(done, workspace, week)
                week += timedelta(days=7)


def _tell(done: Rehearsal, workspace: Workspace, since: datetime, tell: Tell) -> None:
    """Add what was recorded after `since`, as far as it is not there yet."""
    known = set(done.events)
    for event in events_between(workspace.database, since - timedelta(days=2), workspace.clock.now()):
        if event not in known:
            done.events.append(event)
            tell(event.line)


def _weigh(done: Rehearsal, workspace: Workspace, week: datetime) -> None:
    for part in done.script.parts:
        lineage = workspace.lineage(part.symbol)
        level = lineage.settings.retraining.degradation.coverage
        found = answered(workspace.database, part.symbol, week, week + timedelta(days=7), level, lineage.horizons[0])
        done.weeks += [found] if found is not None else []


@contextmanager
def _environment(home: Home, configs: Path) -> Iterator[None]:
    """Lead this process into the home of the rehearsal and nowhere else, and back afterwards."""
    before = dict(os.environ)
    for name in _ELSEWHERE:
        os.environ.pop(name, None)
    os.environ |= {"FXGPT_HOME": str(home.root), "FXGPT_CONFIG_DIR": str(configs), "DAGSTER_HOME": str(home.dagster)}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
