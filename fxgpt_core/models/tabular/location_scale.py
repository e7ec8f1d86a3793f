"""Location-scale models: return = yardstick x (location + scale(features) x residual), residual from training.

Every tabular family is this, with its own way to learn the scale. A new model starts at the yardstick: its log scale
is multiplied by a share chosen on the validation labels, where 0 is the yardstick alone, and its location counts only
if it beats none by more than a standard error there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.evaluation.scores import crps
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.scaler import ScalingConfig, Standardiser
from fxgpt_core.models.forecaster import FitReport, Provenance
from fxgpt_core.models.output import check_horizons, split_of, to_forecast
from fxgpt_core.models.tabular.design import design
from fxgpt_core.models.tabular.linear import Floats, Linear, Matrix, ridge
from fxgpt_core.models.tabular.residuals import Residuals, fit_residuals
from fxgpt_core.training.plan import TrainingPlan

_LIMIT = 1.5  # a scale leaves the yardstick by no more than a factor of e^1.5


class LocationScaleConfig(Config):
    """What all tabular families share."""

    shares: tuple[float, ...] = Field(
        default=(0.0, 0.25, 0.5, 0.75, 1.0),
        min_length=1,
        description="Shares of the learned log scale to choose from on the validation labels; 0 is the yardstick.",
    )
    default_share: float = Field(
        default=0.5, ge=0, le=1, description="Share of the learned log scale where there are no validation labels."
    )
    evidence_errors: float = Field(
        default=0.5, ge=0, description="Standard errors of validation gain at which the learned scale counts nothing."
    )
    location_penalty: float = Field(default=1.0, gt=0, description="Ridge penalty of the location.")
    location_errors: float = Field(
        default=1.0, ge=0, description="Standard errors by which the location must improve the validation CRPS."
    )
    scaling: ScalingConfig = Field(
        default=ScalingConfig(), description="How columns are standardised and which ones are left out."
    )
    min_rows: int = Field(default=100, ge=10, description="Fewest training labels of a horizon.")


class ScaleModel(Protocol):
    """A learned log scale of the standardised return."""

    def predict(self, x: Matrix) -> Floats:
        """Return the log scale of each row, up to a constant: (rows,)."""
        ...


class ScaleLearner(Protocol):
    """How a family learns the log scale, and keeps it in files."""

    def learn(
        self, x: Matrix, size: Floats, x_validation: Matrix, size_validation: Floats, overlap: int, plan: TrainingPlan
    ) -> Sequence[ScaleModel]:
        """Return candidates fitted to the absolute standardised returns `size`: (rows,); validation may be empty."""
        ...

    def save(self, folder: Path, models: Sequence[ScaleModel], names: Sequence[str]) -> None:
        """Write one model per horizon."""
        ...

    def load(self, folder: Path, count: int) -> list[ScaleModel]:
        """Read the models back."""
        ...


@dataclass(frozen=True)
class Head:
    """What is learned for one horizon: `centre` is the log scale at which the model equals the yardstick."""

    scale: ScaleModel
    centre: float
    share: float
    location: Linear | None
    residuals: Residuals

    def moments(self, x: Matrix) -> tuple[Floats, Floats]:
        """Return location and scale of the standardised return: (rows,) each."""
        log_scale = np.clip(self.share * (self.scale.predict(x) - self.centre), -_LIMIT, _LIMIT)
        location = np.zeros(len(x)) if self.location is None else self.location.predict(x)
        return location, np.exp(log_scale)

    def quantiles(self, x: Matrix) -> Floats:
        """Return the quantiles of the standardised return: (rows, levels)."""
        location, scale = self.moments(x)
        return np.asarray(location[:, None] + scale[:, None] * self.residuals.quantiles)


class LocationScaleForecaster:
    """A tabular family; `learner` learns the scale."""

    def __init__(self, family: str, config: LocationScaleConfig, learner: ScaleLearner) -> None:
        self.family, self._config, self._learner = family, config, learner
        self._horizons: tuple[int, ...] = ()
        self._names: tuple[str, ...] = ()
        self._heads: list[Head] = []
        self._scaler: Standardiser | None = None
        self._trained_until = np.datetime64("NaT", "ns")

    def fit(self, dataset: Dataset, plan: TrainingPlan, progress: Progress = silent) -> FitReport:
        """Fit every horizon; raises ModelError without a split or with too few training labels."""
        started = time.perf_counter()
        split = split_of(dataset, self.family)
        used = split.train | split.validation
        rows = np.flatnonzero(used.any(axis=1))
        raw, names = design(dataset, rows)
        training = split.train[rows].any(axis=1)
        if training.sum() < self._config.min_rows:
            raise ModelError(
                f"{self.family}: {int(training.sum())} training rows of {dataset.symbol}, at least "
                f"{self._config.min_rows} are needed: import more bars."
            )
        scaler = Standardiser.fit(raw, training, self._config.scaling)
        x = scaler.transform(raw)  # (rows, kept)
        heads: list[Head] = []
        metrics: dict[str, float] = {}
        for column, horizon in enumerate(dataset.horizons):
            progress(f"{self.family} horizon", column, len(dataset.horizons), f"{horizon} min")
            z = dataset.targets[rows, column]
            train, validation = split.train[rows, column], split.validation[rows, column]
            if train.sum() < self._config.min_rows:
                raise ModelError(
                    f"{self.family}: {int(train.sum())} training labels of {dataset.symbol} at {horizon} minutes, at "
                    f"least {self._config.min_rows} are needed: import more bars."
                )
            overlap = max(1, horizon // dataset.base.minutes)
            head, gain = self._fit_head(x[train], z[train], x[validation], z[validation], overlap, plan)
            heads.append(head)
            metrics |= {f"share_{horizon}": head.share, f"validation_skill_{horizon}": gain}
            metrics |= {f"location_{horizon}": float(head.location is not None)}
        self._horizons, self._heads, self._scaler = dataset.horizons, heads, scaler
        self._names, self._trained_until = names, split.trained_until
        notes = tuple(f"{names[i]} left out: {why}" for i, why in scaler.dropped.items())
        return FitReport(int(training.sum()), time.perf_counter() - started, metrics, notes=notes)

    def _fit_head(
        self, x: Matrix, z: Floats, x_validation: Matrix, z_validation: Floats, overlap: int, plan: TrainingPlan
    ) -> tuple[Head, float]:
        """Return the head that does best on the validation labels, and its CRPS skill there against the yardstick."""
        candidates = self._learner.learn(x, np.abs(z), x_validation, np.abs(z_validation), overlap, plan)
        if not len(z_validation):
            return _head(candidates[len(candidates) // 2], self._config.default_share, None, x, z), 0.0
        reference = _score(_head(candidates[0], 0.0, None, x, z), x_validation, z_validation)  # the yardstick
        best, gain = candidates[0], np.zeros(len(z_validation))
        best_share = 0.0
        for share in sorted(self._config.shares):  # of equals, the smaller share
            for scale in candidates if share else ():
                gained = reference - _score(_head(scale, share, None, x, z), x_validation, z_validation)
                if gained.mean() > gain.mean():
                    best, best_share, gain = scale, share, gained
        # Positive-part shrinkage: what is gained within the noise of few labels is not believed (James & Stein 1961).
        trust = 1.0 - (self._config.evidence_errors / max(_t(gain, overlap), 1e-9)) ** 2
        head = _head(best, best_share * max(trust, 0.0), None, x, z)
        moved = _head(best, head.share, ridge(x, z, self._config.location_penalty), x, z)
        score = _score(head, x_validation, z_validation)
        if _t(score - _score(moved, x_validation, z_validation), overlap) > self._config.location_errors:
            head, score = moved, _score(moved, x_validation, z_validation)
        return head, 1.0 - float(score.mean() / reference.mean())

    def forecast(self, dataset: Dataset, rows: NDArray[np.int64], provenance: Provenance, seed: int = 0) -> Forecast:
        """Return the forecasts of the chosen rows; raises ModelError for other features than it was fitted on."""
        check_horizons(dataset, self._horizons, self.family)
        raw, names = design(dataset, rows)
        if names != self._names or self._scaler is None:
            changed = sorted(set(names) ^ set(self._names))
            raise ModelError(f"{self.family} was fitted on other features ({', '.join(changed[:5])}): fit it again.")
        x, yardstick = self._scaler.transform(raw), dataset.yardstick[rows]
        if not np.isfinite(yardstick).all():
            raise ModelError(f"{self.family}: the yardstick is unknown at some rows; ask for usable rows only.")
        moments = [head.moments(x) for head in self._heads]
        mean = np.stack([location for location, _ in moments], axis=1) * yardstick
        widths = np.array([head.residuals.std for head in self._heads])
        std = np.stack([scale for _, scale in moments], axis=1) * yardstick * widths
        quantiles = np.stack([head.quantiles(x) for head in self._heads], axis=1) * yardstick[..., None]
        return to_forecast(self.family, dataset, rows, provenance, self._trained_until, mean, std, quantiles)

    def save(self, folder: Path) -> None:
        """Write scaler, locations, shares and residuals as JSON and the scales as their learner does."""
        from fxgpt_core.models.tabular.files import write_heads

        if self._scaler is None:
            raise ModelError(f"{self.family} must be fitted before it can be saved.")
        write_heads(folder, self._horizons, self._names, self._scaler, self._heads, self._trained_until)
        kept = self._scaler.names(self._names)
        self._learner.save(folder, [head.scale for head in self._heads], kept)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        from fxgpt_core.models.tabular.files import read_heads

        values = read_heads(folder)
        scales = self._learner.load(folder, len(values["heads"]))
        self._horizons, self._names = tuple(values["horizons"]), tuple(values["names"])
        self._scaler = Standardiser.from_dict(values["scaler"])
        self._trained_until = np.datetime64(values["trained_until"], "ns")
        self._heads = [_restore(scale, head) for scale, head in zip(scales, values["heads"], strict=True)]


def _head(scale: ScaleModel, share: float, location: Linear | None, x: Matrix, z: Floats) -> Head:
    """Return the head whose residuals are those of the training labels `z`: (rows,)."""
    centre = float(np.mean(scale.predict(x)))
    bare = Head(scale, centre, share, location, Residuals(np.zeros(1), 1.0))
    at, width = bare.moments(x)
    return Head(scale, centre, share, location, fit_residuals((z - at) / width))


def _score(head: Head, x: Matrix, z: Floats) -> Floats:
    return crps(z, head.quantiles(x))


def _t(gain: Floats, overlap: int) -> float:
    """Return mean gain / its standard error; labels that overlap count once."""
    error = float(gain.std()) / np.sqrt(max(len(gain) / overlap, 1.0))
    return float(gain.mean()) / error if error > 0 else 0.0


def _restore(scale: ScaleModel, values: dict[str, Any]) -> Head:
    location = values["location"]
    linear = None if location is None else Linear(np.asarray(location["weights"]), float(location["intercept"]))
    residuals = Residuals(np.asarray(values["quantiles"]), float(values["std"]))
    return Head(scale, float(values["centre"]), float(values["share"]), linear, residuals)
