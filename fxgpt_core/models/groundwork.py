"""`Groundwork`: what a family's fit needs before the rest, and which a stage of its own may have made already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.market.candles import Candles
from fxgpt_core.models.forecaster import FitReport
from fxgpt_core.training.plan import TrainingPlan


@dataclass(frozen=True)
class Shown:
    """A window as a model looks at it: its `candles` and pictures (channels, height, width) in -1..1, the first of them
    called `names`; `kept` is the same after what the groundwork keeps of it."""

    candles: Candles
    names: Sequence[str]
    pictures: NDArray[np.float32]
    kept: NDArray[np.float32]


class Maker(Protocol):
    """What a module of groundwork offers."""

    def fit(self, config: Any, dataset: Dataset, plan: TrainingPlan, progress: Progress) -> FitReport | None: ...

    def show(self, config: Any, dataset: Dataset, plan: TrainingPlan, rows: NDArray[np.int64]) -> list[Shown]: ...


@dataclass(frozen=True)
class Groundwork:
    """One part of a family: `name` is that of its folder among the checkpoints of a fit, `label` is for people.

    `module` has `fit(config, dataset, plan, progress)`, which does this part of the fit that the family would do with
    equal arguments and leaves it in `plan.checkpoints / name` for that fit to find, or returns None where the
    configuration needs none; and `show(config, dataset, plan, rows)` for what a person may look at afterwards. A fit
    that finds nothing there, or something made of other bars, does that part itself: so a fold never works with
    groundwork that has seen its future.
    """

    name: str
    label: str
    module: str

    def fit(self, config: Any, dataset: Dataset, plan: TrainingPlan, progress: Progress = silent) -> FitReport | None:
        """Do this part of a fit; see the class."""
        return self._maker().fit(config, dataset, plan, progress)

    def show(self, config: Any, dataset: Dataset, plan: TrainingPlan, rows: NDArray[np.int64]) -> list[Shown]:
        """Return what a person may look at, for base bars `rows`."""
        return self._maker().show(config, dataset, plan, rows)

    def _maker(self) -> Maker:
        return cast(Maker, import_module(self.module))
