"""`RehearsedDaemon`: what Dagster's daemon does, on a clock that is set.

Dagster's own daemon lives on wall time. Here its schedules, sensors and conditions are evaluated in Dagster's public
contexts, whenever the set clock says that they are due, and what they request is run in this process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
from dagster._utils.schedules import cron_string_iterator  # what its scheduler iterates; there is no public way

from fxgpt_pipeline.runs import CAUSE_TAG, LINEAGE_JOB, first_error
from fxgpt_pipeline.workspace import Workspace

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_FRESH = "fresh_features"


@dataclass(frozen=True)
class Ran:
    """A run: when it began on the set clock, of which job and symbol ("" for all), why, how it ended, and its error."""

    at: datetime
    job: str
    symbol: str
    cause: str
    success: bool
    error: str = ""


@dataclass
class RehearsedDaemon:
    """Evaluates what is due between two ticks; everything that runs by itself in a real home, runs here.

    `conditions_every`: how often automation conditions are evaluated, which is slow.
    """

    definitions: dg.Definitions
    workspace: Workspace
    instance: dg.DagsterInstance
    since: datetime
    conditions_every: timedelta = timedelta(days=1)
    ran: list[Ran] = field(default_factory=list)
    _cursors: dict[str, Any] = field(default_factory=dict)
    _keys: set[str] = field(default_factory=set)
    _conditions_at: datetime | None = None

    def __post_init__(self) -> None:
        logging.getLogger("dagster.automation_condition_tester").setLevel(logging.WARNING)  # it tells every evaluation

    def tick(self) -> None:
        """Evaluate every schedule tick since the last call, then every sensor once, then, when due, the conditions."""
        now = self.workspace.clock.now()
        due = sorted(self._due(now), key=lambda one: (one[0], one[1].name))
        for at, schedule in due:
            self._evaluate_schedule(schedule, at)
        for sensor in self._sensors():
            self._evaluate_sensor(sensor)
        if self._conditions_at is None or now - self._conditions_at >= self.conditions_every:
            self._conditions_at = now
            self._evaluate_conditions()
        self.since = now

    def run(self, job: str, symbol: str = "", cause: str = "rehearsal", keys: list[dg.AssetKey] | None = None) -> bool:
        """Run a job, of one symbol and of some assets where they are named; return whether it ended well."""
        done = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=symbol or None,
            asset_selection=keys,
            tags={CAUSE_TAG: cause},
            raise_on_error=False,
            run_config=_QUIET,
        )
        error = "" if done.success else first_error(done)
        self.ran.append(Ran(self.workspace.clock.now(), job, symbol, cause, done.success, error))
        return bool(done.success)

    def _due(self, now: datetime) -> Iterator[tuple[datetime, dg.ScheduleDefinition]]:
        for schedule in self.definitions.schedules or ():
            assert isinstance(schedule, dg.ScheduleDefinition)
            if schedule.default_status != dg.DefaultScheduleStatus.RUNNING:
                continue
            zone, crons = schedule.execution_timezone or "UTC", schedule.cron_schedule
            for cron in [crons] if isinstance(crons, str) else crons:
                for at in cron_string_iterator(self.since.timestamp() + 1, cron, zone):
                    if at > now:
                        break
                    yield at, schedule

    def _evaluate_schedule(self, schedule: dg.ScheduleDefinition, at: datetime) -> None:
        context = dg.build_schedule_context(
            self.instance, at, resources={"workspace": self.workspace}, repository_def=self._repository
        )
        found = schedule.evaluate_tick(context)
        for request in found.run_requests or ():
            self._request(schedule.job_name, request)

    def _evaluate_sensor(self, sensor: dg.SensorDefinition) -> None:
        context = dg.build_sensor_context(
            self.instance,
            cursor=self._cursors.get(sensor.name),
            resources={"workspace": self.workspace},
            sensor_name=sensor.name,
            definitions=self.definitions,
        )
        found = sensor.evaluate_tick(context)
        self._cursors[sensor.name] = found.cursor
        for request in found.run_requests or ():
            self._request(sensor.job_name or "", request)

    def _evaluate_conditions(self) -> None:
        """Let new candles bring features, targets and a drift verdict, as `fresh_features` does."""
        (sensor,) = [one for one in self.definitions.sensors or () if one.name == _FRESH]
        wanted = sensor.asset_selection
        assert wanted is not None
        for _ in range(4):  # what was requested brings what depends on it
            found = dg.evaluate_automation_conditions(
                self.definitions, self.instance, wanted, cursor=self._cursors.get(_FRESH)
            )
            self._cursors[_FRESH] = found.cursor
            if not found.total_requested:
                return
            asked: dict[str, list[dg.AssetKey]] = {}
            for result in found.results:
                for symbol in found.get_requested_partitions(result.key):
                    asked.setdefault(str(symbol), []).append(result.key)
            for symbol, keys in sorted(asked.items()):
                self.run(LINEAGE_JOB, symbol, "fresh_features", keys)

    def _request(self, job: str, request: dg.RunRequest) -> None:
        """Run what was requested, once per run key."""
        key = f"{job}:{request.run_key}"
        if request.run_key is not None and key in self._keys:
            return
        self._keys.add(key)
        self.run(request.job_name or job, request.partition_key or "", request.run_key or "")

    def _sensors(self) -> Iterator[dg.SensorDefinition]:
        for sensor in self.definitions.sensors or ():
            condition = isinstance(sensor, dg.AutomationConditionSensorDefinition)
            if not condition and sensor.default_status == dg.DefaultSensorStatus.RUNNING:
                yield sensor

    @property
    def _repository(self) -> dg.RepositoryDefinition:
        return self.definitions.get_repository_def()
