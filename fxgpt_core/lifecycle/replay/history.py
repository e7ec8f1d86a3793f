"""`History`: what a replay lives through, and what decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.evaluation.performance import ScoredRows
from fxgpt_core.evaluation.split_config import PurgeConfig
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.drift.columns import drift_table
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.replay.steps import decision_bars, retraining_split
from fxgpt_core.models.fold_inputs import HeadPrints
from fxgpt_core.models.registry import FamilyEntry
from fxgpt_core.policy.config import RetrainingConfig


@dataclass(frozen=True)
class ReplaySettings:
    """Everything that decides a replay besides data, family and code. `begin`: no look before it, datetime64 UTC."""

    begin: np.datetime64
    retraining: RetrainingConfig
    purge: PurgeConfig
    calibration: CalibrationConfig
    drift: DriftConfig
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values; which families a pair's configuration replays is no part of any one replay."""
        sections = {name: getattr(self, name).model_dump(mode="json") for name in ("purge", "calibration", "drift")}
        retraining = self.retraining.model_dump(mode="json")
        retraining["replay"].pop("families")
        return {**sections, "retraining": retraining, "begin": str(self.begin), "seed": self.seed}


def configuration_hash(entry: FamilyEntry, config: Any, settings: ReplaySettings) -> str:
    """Return the key under which a replay is kept: family, its configuration, code and the settings."""
    family = [entry.name, entry.code_version, config.model_dump(mode="json")]
    return stable_hash({"family": family, "settings": settings.to_dict(), "replay": "1"})


class History:
    """One symbol's whole history with the family and the settings under which it is lived through again.

    Nothing here forecasts or decides. Scores are computed with outcomes of the whole history and carry the time at
    which each became known: whoever compares them asks for those known at a moment.
    """

    def __init__(self, dataset: Dataset, entry: FamilyEntry, config: Any, settings: ReplaySettings) -> None:
        self.dataset, self.entry, self.config, self.settings = dataset, entry, config, settings
        self.looks = decision_bars(dataset.known_at, settings.begin, settings.retraining.replay)
        self.outcomes = Outcomes.from_dataset(dataset)
        self.drift_table = drift_table(dataset, settings.drift)
        # From the settings, not from the data: the median life of all labels would depend on those to come.
        self._overlaps = tuple(max(1, -(-horizon // dataset.base.minutes)) for horizon in dataset.horizons)
        self._recipe = configuration_hash(entry, config, settings)
        self._prints = HeadPrints(dataset, self._recipe)

    def read_again(self) -> None:
        """Begin anew with hashes of what bars hold, which are taken of growing heads only."""
        self._prints = HeadPrints(self.dataset, self._recipe)

    def score(self, forecast: Forecast) -> ScoredRows:
        """Score a forecast of this history by all outcomes."""
        rows = np.searchsorted(self.dataset.known_at, forecast.decided_at)
        coverage = self.settings.retraining.degradation.coverage
        return ScoredRows.of(forecast, self.outcomes, self.dataset.yardstick[rows], coverage, self._overlaps)

    def split(self, bar: int) -> Split:
        """Return what a training at the close of `bar` learns from; raises DataError where that is too little."""
        return retraining_split(self.dataset, bar, self.settings.retraining.train_months, self.settings.purge)

    def version(self, split: Split, bar: int) -> str:
        """Return the hash of all that decides a version trained at the close of `bar`."""
        return self._prints.of(split, bar + 1)

    def seal(self, before: str, version: str, last_bar: int) -> str:
        """Return the hash of all that decides a segment: those before it, its version, and all bars up to its end."""
        nothing = np.zeros_like(self.dataset.mask)
        whole = Split("segment", nothing, nothing, nothing[:, 0], self.dataset.known_at[last_bar])
        return stable_hash([before, version, self._prints.of(whole, last_bar + 1)])
