"""`VersionLife`: one trained version from its training to the next, with everything that was known on the way."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fxgpt_core.calibration.conformal import ConformalCalibrator
from fxgpt_core.calibration.groups import Labels
from fxgpt_core.calibration.labels import decision_labels
from fxgpt_core.calibration.walk_forward import fit_final
from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.common.progress import Progress
from fxgpt_core.evaluation.performance import ScoredRows
from fxgpt_core.evaluation.purging import days
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.drift.verdict import DriftVerdict
from fxgpt_core.lifecycle.replay.history import History
from fxgpt_core.lifecycle.replay.judging import DriftWatch, PerformanceWatch, new_labels
from fxgpt_core.lifecycle.replay.segments import Record, Segment
from fxgpt_core.models.forecaster import FitReport, Forecaster, Provenance
from fxgpt_core.policy.decision import Decision
from fxgpt_core.policy.retraining import RetrainingState, decide_retraining
from fxgpt_core.store.clock import Clock, to_datetime64
from fxgpt_core.training.plan import TrainingPlan


class VersionLife:
    """Trains at `decision.at`, then answers look by look; `earlier` are the segments before it, `scored` their scores.

    `looks`: the bars after its training at whose close the rule is asked.
    """

    def __init__(
        self,
        history: History,
        decision: Decision,
        earlier: Sequence[Segment],
        scored: Sequence[ScoredRows],
        plan: TrainingPlan,
        clock: Clock,
        progress: Progress,
    ) -> None:
        self.history, self._decision, self._clock, self._plan = history, decision, clock, plan
        self._first = int(np.searchsorted(history.dataset.known_at, decision.at))
        self._split = history.split(self._first)
        self._print = history.version(self._split, self._first)
        self._last_record = earlier[-1].record if earlier else None
        self._before = [segment.raw for segment in earlier if segment.raw is not None]
        self._forecaster, self._report = self._fit(progress)
        self._calibrator = self._fit_calibrator()
        self._raw: Forecast | None = None
        self._calibrated: Forecast | None = None
        self._own: ScoredRows | None = None
        self._reached = self._first
        self._drift = self._drift_watch()
        degradation = history.settings.retraining.degradation
        self._performance = PerformanceWatch(self.name, history.dataset.horizons, decision.at, scored, degradation)
        self.looks = [int(bar) for bar in history.looks if bar > self._first]

    @property
    def name(self) -> str:
        """The version as its forecasts carry it."""
        return f"{self.history.entry.name}@{self._print}"

    def look(self, bar: int) -> Decision:
        """Ask the rule at the close of `bar`."""
        history, now = self.history, self.history.dataset.known_at[bar]
        if bar > self._reached:
            self._forecast(self._worthwhile(bar))
        state = RetrainingState(
            symbol=history.dataset.symbol,
            now=now,
            last_trained_at=self._decision.at,
            news=self._drift.news(now),
            performance=self._performance.news(self._own, now),
            new_labels=new_labels(history.dataset, self._split.trained_until, now),
        )
        return decide_retraining(state, history.settings.retraining)

    def close(self, last: int, decisions: Sequence[Decision], *, is_open: bool) -> Segment:
        """Return the segment up to the close of bar `last`."""
        if last > self._reached:
            self._forecast(last)
        end = self.history.dataset.known_at[last]
        raw, calibrated = (_until(forecast, end) for forecast in (self._raw, self._calibrated))
        sealed = self._last_record.print if self._last_record is not None else ""
        record = Record(
            number=0 if self._last_record is None else self._last_record.number + 1,
            version=self.name,
            trained_at=str(self._decision.at),
            trained_until=str(self._split.trained_until),
            first_bar=self._first,
            last_bar=last,
            open=is_open,
            reasons=self._decision.reasons,
            cause=self._decision.cause,
            labels=tuple(int(count) for count in self._split.train.sum(axis=0)),
            seconds=round(self._report.seconds, 3),
            rows=0 if raw is None else len(raw),
            calibrated=0 if calibrated is None else len(calibrated),
            calibrator="" if self._calibrator is None else self._calibrator.version,
            verdict=None if self._drift.last is None else self._drift.last.to_dict(),
            print=self.history.seal(sealed, self._print, last),
        )
        return Segment(record, raw, calibrated, tuple(decisions))

    def forget(self) -> None:
        """Remove what an interrupted fit would have gone on from."""
        if self._plan.checkpoints is not None:
            shutil.rmtree(self._plan.checkpoints / self._print, ignore_errors=True)

    def _fit(self, progress: Progress) -> tuple[Forecaster, FitReport]:
        history, root = self.history, self._plan.checkpoints
        plan = replace(self._plan, checkpoints=None if root is None else root / self._print)
        forecaster = history.entry.create(history.config)
        return forecaster, forecaster.fit(history.dataset.head(self._first + 1).with_split(self._split), plan, progress)

    def _fit_calibrator(self) -> ConformalCalibrator | None:
        """Fit on what earlier versions forecast and what had become of it by now; None where that is too little."""
        if not self._before:
            return None
        forecast, known = concat(self._before), self.history.outcomes.known_at(self._decision.at)
        return fit_final(forecast, known, self.history.settings.calibration, self._labels(forecast))

    def _labels(self, forecast: Forecast) -> Labels | None:
        return decision_labels(self.history.dataset, forecast.decided_at, self.history.settings.calibration.grouping)

    def _drift_watch(self) -> DriftWatch:
        history = self.history
        start = history.dataset.known_at[int(np.flatnonzero(self._split.train.any(axis=1))[0])]
        stored = None if self._last_record is None else self._last_record.verdict
        previous = None if stored is None else DriftVerdict.from_dict(stored)
        settings = history.settings
        return DriftWatch(history.drift_table, self._decision.at, start, settings.drift, settings.seed, previous)

    def _worthwhile(self, bar: int) -> int:
        """Return up to which bar to forecast at once: the look at which the schedule is due, or `bar` if later.

        Forecasts know nothing after the bar they are made at, so those that another version will make are dropped.
        """
        due = self._decision.at + days(self.history.settings.retraining.every_days)
        known_at = self.history.dataset.known_at
        later = [look for look in self.looks if known_at[look] >= due]
        return max(bar, later[0] if later else len(known_at) - 1)

    def _forecast(self, until: int) -> None:
        """Forecast the bars after the last forecast one up to `until`, and calibrate all of the version's rows."""
        head = self.history.dataset.head(until + 1)
        rows = np.flatnonzero(head.usable)
        rows = rows[rows > self._reached]
        self._reached = until
        if not len(rows):
            return
        provenance = Provenance(self.name, to_datetime64(self._clock.now()), "backfill")
        made = replace(self._forecaster.forecast(head, rows, provenance, self._plan.seed), samples=None)
        self._raw = made if self._raw is None else concat([self._raw, made])
        if self._calibrator is None:
            return
        past = concat([*self._before, self._raw])
        outcomes, known = Outcomes.from_dataset(head), len(past) - len(self._raw)
        self._calibrated, _ = self._calibrator.follow(past, outcomes, known, self._labels(past))
        self._own = self.history.score(self._calibrated)


def _until(forecast: Forecast | None, end: np.datetime64) -> Forecast | None:
    if forecast is None:
        return None
    kept = forecast.take(forecast.decided_at <= end)
    return kept if len(kept) else None
