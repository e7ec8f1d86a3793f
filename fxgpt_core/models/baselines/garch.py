"""GARCH(1,1) with Student-t innovations (Bollerslev 1987), fitted by `arch` on the training span's base returns.

The variance over a horizon of k bars is the sum of the k one-bar forecasts. The model knows no time of day and no
weekend: it is the textbook's baseline. The shape of each horizon is fitted to the residuals of training like that of
every other walk.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fxgpt_core.common.config import Config as BaseConfig
from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.baselines.walk import Floats, Walk
from fxgpt_core.models.forecaster import FitReport
from fxgpt_core.models.output import split_of
from fxgpt_core.training.plan import TrainingPlan

_FILE = "garch.json"
_UNIT = 1e4  # returns are fitted in basis points, where the optimiser is at ease
_FEWEST = 500


class Config(BaseConfig):
    """Nothing to set: orders and distribution are the textbook's."""


@dataclass(frozen=True)
class Garch:
    """Parameters of h(t+1) = omega + alpha r(t)^2 + beta h(t), in squared log returns; `persistence` = alpha + beta."""

    omega: float
    alpha: float
    beta: float

    @property
    def persistence(self) -> float:
        """How much of a variance shock is left after one bar."""
        return self.alpha + self.beta

    @property
    def long_run(self) -> float:
        """The fixed point of the recursion: the variance that forecasts return to where `persistence` < 1."""
        return self.omega / (1 - self.persistence)

    def filter(self, returns: Floats, start: float) -> Floats:
        """Return the forecast of the next bar's variance after each return: (n,); `start` is that of the first bar."""
        from scipy.signal import lfilter

        driven = self.omega + self.alpha * returns * returns
        out, _ = lfilter([1.0], [1.0, -self.beta], driven, zi=[self.beta * start])
        return np.asarray(out, dtype=np.float64)

    def ahead(self, following: Floats, bars: int) -> Floats:
        """Return the variance over the next `bars` bars from that of the next bar: (n,)."""
        persistence = self.persistence
        if abs(1 - persistence) < 1e-9:
            steps = np.arange(bars)
            return np.asarray(bars * following + self.omega * steps.sum())
        weight = (1 - persistence**bars) / (1 - persistence)
        return np.asarray(bars * self.long_run + weight * (following - self.long_run))


def fit_garch(returns: Floats) -> Garch:
    """Return the maximum-likelihood parameters of base log returns (n,); raises ModelError where there are too few."""
    from arch import arch_model

    if len(returns) < _FEWEST or not np.ptp(returns) > 0:
        raise ModelError(f"GARCH needs {_FEWEST} base returns that move, there are {len(returns)}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = arch_model(returns * _UNIT, mean="Zero", vol="GARCH", p=1, q=1, dist="t", rescale=False)
        found = model.fit(disp="off", show_warning=False).params
    return Garch(float(found["omega"]) / _UNIT**2, float(found["alpha[1]"]), float(found["beta[1]"]))


class GarchWalk(Walk):
    """The walk whose volatility path is that of a fitted GARCH."""

    def __init__(self) -> None:
        super().__init__("garch", self._path)
        self._garch: Garch | None = None
        self._start = float("nan")

    def fit(self, dataset: Dataset, plan: TrainingPlan, progress: Progress = silent) -> FitReport:
        """Fit the recursion to the base returns of the training span, then the shapes to its labels."""
        until = split_of(dataset, self.family).trained_until
        seen = _returns(dataset)[1 : int(np.searchsorted(dataset.known_at, until, side="right"))]
        self._garch, self._start = fit_garch(seen), float(np.mean(seen * seen))
        report = super().fit(dataset, plan, progress)
        found = {"alpha": self._garch.alpha, "beta": self._garch.beta, "persistence": self._garch.persistence}
        return FitReport(report.rows, report.seconds, {**report.metrics, **found})

    def save(self, folder: Path) -> None:
        """Write shapes and parameters as JSON."""
        super().save(folder)
        values = {"garch": vars(self._garch) if self._garch else None, "start": self._start}
        (folder / _FILE).write_text(json.dumps(values, indent=1))

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        super().load(folder)
        values = json.loads((folder / _FILE).read_text())
        self._garch, self._start = Garch(**values["garch"]), float(values["start"])

    def _path(self, dataset: Dataset) -> Floats:
        if self._garch is None:
            raise ModelError("garch must be fitted or loaded before it forecasts.")
        following = self._garch.filter(_returns(dataset), self._start)
        columns = [self._garch.ahead(following, horizon // dataset.base.minutes) for horizon in dataset.horizons]
        path = np.sqrt(np.stack(columns, axis=1))
        path[~np.isfinite(dataset.yardstick)] = np.nan  # the same rows for every baseline
        return np.asarray(path)


def _returns(dataset: Dataset) -> Floats:
    close = np.log(dataset.candles.close)
    return np.diff(close, prepend=close[:1])


def create(config: Config) -> GarchWalk:
    """Return an unfitted baseline."""
    return GarchWalk()
