"""What was known at a moment of the replay: drift of past windows, realised forecasts, labels that had ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from fxgpt_core.common.dependence import MeanEstimate
from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.performance import MEASURES, ScoredRows, join
from fxgpt_core.evaluation.purging import days
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.lifecycle.drift.columns import DriftTable
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.reference import DriftReference, build_reference
from fxgpt_core.lifecycle.drift.verdict import DriftVerdict, judge
from fxgpt_core.policy.config import DegradationConfig
from fxgpt_core.policy.degradation import Comparison, Measure, PerformanceNews, last_look
from fxgpt_core.policy.retraining import DriftNews

Cell = tuple[Measure, int]


class DriftWatch:
    """Judges the windows that end while one version serves, against the span that it was trained on.

    The reference ends where the window before the training begins, so that no window ever takes part in its own
    threshold. Where the span is too short for a threshold nothing is judged.
    """

    def __init__(
        self,
        table: DriftTable,
        trained_at: np.datetime64,
        start: np.datetime64,
        config: DriftConfig,
        seed: int,
        previous: DriftVerdict | None,
    ) -> None:
        self.table, self.config, self.last = table, config, previous
        self.pending: DriftNews | None = None
        self.reference: DriftReference | None = None
        try:
            end = trained_at - np.timedelta64(config.window_days, "D")
            self.reference = build_reference(table, start, end, config, seed)
        except DataError:  # fewer windows than a threshold needs: as long as that is so, drift calls for nothing
            return

    def news(self, now: np.datetime64) -> DriftNews | None:
        """Judge the window that ends at `now`; return the onset that still waits for a training, or this verdict."""
        if self.reference is None:
            return None
        verdict = judge(self.reference, self.table, now, self.config, self.last)
        self.last = verdict
        news = DriftNews(verdict.window_end, verdict.drifted, verdict.onset, _aware(now), verdict.summary)
        if verdict.onset:
            self.pending = news
        return self.pending or news


class PerformanceWatch:
    """Compares one version's realised forecasts with its reference: earlier ones out of sample and its first days.

    `before`: scored forecasts of earlier versions. What is not known at a moment counts for nothing at it.
    """

    def __init__(
        self,
        version: str,
        horizons: Sequence[int],
        trained_at: np.datetime64,
        before: Sequence[ScoredRows],
        config: DegradationConfig,
    ) -> None:
        self.version, self.horizons, self.trained_at, self.config = version, tuple(horizons), trained_at, config
        self.first = trained_at + days(config.first_days)
        since = trained_at - days(config.reference_days)
        self._evaluation = [part.between(since, trained_at) for part in before]
        self._kept: tuple[int, dict[Cell, MeanEstimate | None]] = (-1, {})

    def news(self, own: ScoredRows | None, now: np.datetime64) -> PerformanceNews | None:
        """Compare as at the last look of the schedule; `own`: the version's scored forecasts, None before it had any.

        None before the first look, and where too few outcomes were known at it.
        """
        look = last_look(self.first, now, self.config)
        if own is None or look is None:
            return None
        now = look
        recent = own.between(max(self.first, now - days(self.config.recent_days)), now).known_at(now)
        reference = self._reference(own, now)
        found = []
        for cell in self._cells():
            judged = recent.estimate(*cell)
            if judged is not None:
                found.append(Comparison(cell[0], self.horizons[cell[1]], judged, reference[cell]))
        return PerformanceNews(self.version, now, tuple(found)) if found else None

    def _reference(self, own: ScoredRows, now: np.datetime64) -> dict[Cell, MeanEstimate | None]:
        """Return the reference as it is known at `now`; it changes only while outcomes of the first days arrive."""
        rows = join([*self._evaluation, own.between(self.trained_at, self.first)]).known_at(now)
        known = sum(int(np.isfinite(values).sum()) for values in rows.values.values())
        if known != self._kept[0]:
            self._kept = (known, {cell: rows.estimate(*cell) for cell in self._cells()})
        return self._kept[1]

    def _cells(self) -> Iterator[Cell]:
        return ((measure, column) for measure in MEASURES for column in range(len(self.horizons)))


def new_labels(dataset: Dataset, after: np.datetime64, until: np.datetime64) -> int:
    """Return how many labels ended in (after, until], of the horizon that has fewest."""
    ended = dataset.mask & (dataset.label_end > after) & (dataset.label_end <= until)  # NaT compares false
    return int(ended.sum(axis=0).min())


def _aware(moment: np.datetime64) -> datetime:
    aware: datetime = pd.Timestamp(moment).tz_localize("UTC").to_pydatetime()
    return aware
