"""The contract that every model family fulfils."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.models.session import Session
from fxgpt_core.training.plan import TrainingPlan


@dataclass(frozen=True)
class FitReport:
    """What a fit did: rows used, seconds, scalar metrics and curves by epoch (name -> values).

    `notes`: what a person should know of it; `plan`: what the hardware plan chose and why, a sentence each.
    """

    rows: int
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """Stamped into every forecast row: version name, time of making and origin (`fold`, `backfill`, `live`)."""

    model_version: str
    made_at: np.datetime64
    origin: str = "fold"


class Forecaster(Protocol):
    """A model of one symbol.

    `fit` reads `dataset.split` (train and validation labels only). `forecast` gives the distribution at the chosen
    base bars (`rows`: increasing indices whose yardstick is known), in log returns. `open` starts a live session on a
    feed, from what a session of this model once saved in `snapshot` or from the start of history; it raises ModelError
    where the snapshot belongs to another model or other bars. `save`/`load` round-trip through a folder of
    safetensors, JSON and, for scikit-learn members, skops; never pickle.
    """

    family: str

    def fit(self, dataset: Dataset, plan: TrainingPlan, progress: Progress = silent) -> FitReport: ...

    def forecast(
        self, dataset: Dataset, rows: NDArray[np.int64], provenance: Provenance, seed: int = 0
    ) -> Forecast: ...

    def open(self, feed: Feed, snapshot: Path | None = None) -> Session: ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...


@runtime_checkable
class Exportable(Protocol):
    """A fitted model that can be written for programs without this library.

    `export` writes files in one of `formats` into a folder, compares what they say with the model, and returns the
    largest difference by part; it raises BadInputError for another format and ModelError where they disagree.
    """

    formats: tuple[str, ...]

    def export(self, folder: Path, form: str) -> Mapping[str, float]: ...


@runtime_checkable
class Drawing(Protocol):
    """A fitted model whose forecasts come from draws: `with_draws` returns the same model with another number."""

    def with_draws(self, draws: int) -> Forecaster: ...
