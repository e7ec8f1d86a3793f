"""Location-scale models: return = yardstick x (location + scale(features) x residual), residual from training.

Every tabular family is this, with its own way to learn the scale. A new model starts at the yardstick: its log scale
is multiplied by a share chosen on the validation labels, where 0 is the yardstick alone, and its location counts only
if it clearly beats none there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
from fxgpt_core.features.coverage import MissingColumns, log, warn
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.features.likeness import LikenessConfig, likeness
from fxgpt_core.features.pca import PCAConfig
from fxgpt_core.features.scaler import ScalingConfig
from fxgpt_core.models.forecaster import FitReport, Provenance
from fxgpt_core.models.output import check_horizons, split_of, to_forecast
from fxgpt_core.models.session import BulkSession, Session
from fxgpt_core.models.tabular.design import design
from fxgpt_core.models.tabular.inputs import Inputs
from fxgpt_core.models.tabular.linear import Floats, Linear, Matrix, covariance, ridge
from fxgpt_core.models.tabular.residuals import Residuals, fit_residuals
from fxgpt_core.training.plan import TrainingPlan

_JUDGED = 8000  # training labels whose residuals stand in for all while a candidate is chosen
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
    location_share: float = Field(
        default=0.001,
        gt=0,
        lt=1,
        description="Share of the variance of returns that features may explain, before labels are seen; the penalty "
        "of the location follows from it, from the number of columns and from how many labels do not overlap.",
    )
    location_errors: float = Field(
        default=2.0,
        ge=0,
        description="Standard errors by which the location must improve the validation CRPS; at one, every sixth "
        "location would be let in by chance.",
    )
    scaling: ScalingConfig = Field(
        default=ScalingConfig(), description="How columns are standardised and which ones are left out."
    )
    pca: PCAConfig | None = Field(
        default=None, description="Principal components in place of the columns; off where nothing is said."
    )
    likeness: LikenessConfig = Field(
        default=LikenessConfig(), description="When training and validation rows are too alike."
    )
    min_rows: int = Field(default=100, ge=10, description="Fewest training labels of a horizon.")


@dataclass(frozen=True)
class Labels:
    """What a scale is learned from: inputs and absolute standardised returns, to train and to validate.

    `x`: (rows, columns); `size`: (rows,); validation may be empty. `overlap`: base bars that one label spans; `names`:
    of the columns.
    """

    x: Matrix
    size: Floats
    x_validation: Matrix
    size_validation: Floats
    overlap: int
    names: tuple[str, ...]

    @cached_property
    def covariance(self) -> Floats:
        """Covariance of the training inputs, which scale and location share: (columns, columns)."""
        return covariance(self.x)


class ScaleModel(Protocol):
    """A learned log scale of the standardised return."""

    def predict(self, x: Matrix) -> Floats:
        """Return the log scale of each row, up to a constant: (rows,)."""
        ...


class ScaleLearner(Protocol):
    """How a family learns the log scale, and keeps it in files."""

    def learn(self, labels: Labels, plan: TrainingPlan) -> Sequence[ScaleModel]:
        """Return candidates, to be chosen from on the validation labels."""
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
        location = np.zeros(len(x)) if self.location is None else self.location.predict(x)
        return location, _width(self.scale.predict(x), self.centre, self.share)

    def quantiles(self, x: Matrix) -> Floats:
        """Return the quantiles of the standardised return: (rows, levels)."""
        location, scale = self.moments(x)
        return np.asarray(location[:, None] + scale[:, None] * self.residuals.quantiles)


class LocationScaleForecaster:
    """A tabular family; `learner` learns the scale."""

    def __init__(self, family: str, config: LocationScaleConfig, learner: ScaleLearner) -> None:
        self.family, self._config, self._learner = family, config, learner
        self._horizons: tuple[int, ...] = ()
        self._heads: list[Head] = []
        self._inputs: Inputs | None = None
        self._missing = MissingColumns()
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
        inputs = Inputs.fit(raw, names, training, self._config.scaling, self._config.pca)
        x = inputs.transform(raw)  # (rows, columns)
        notes = self._notes(dataset, inputs, x[training], x[split.validation[rows].any(axis=1) & ~training])
        heads: list[Head] = []
        metrics = inputs.metrics
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
            labels = Labels(x[train], np.abs(z[train]), x[validation], np.abs(z[validation]), overlap, inputs.columns)
            head, gain = self._fit_head(labels, z[train], z[validation], plan)
            heads.append(head)
            metrics |= {f"share_{horizon}": head.share, f"validation_skill_{horizon}": gain}
            metrics |= {f"location_{horizon}": float(head.location is not None)}
        self._horizons, self._heads, self._inputs = dataset.horizons, heads, inputs
        self._trained_until = split.trained_until
        return FitReport(int(training.sum()), time.perf_counter() - started, metrics, notes=notes)

    def _notes(self, dataset: Dataset, inputs: Inputs, train: Matrix, validation: Matrix) -> tuple[str, ...]:
        """Return, and log as a warning, what is odd about columns and split."""
        where = f"{self.family} of {dataset.symbol}, split {split_of(dataset, self.family).name}"
        said: tuple[str, ...] = ()
        if (coverage := inputs.scaler.coverage) is not None:
            said = coverage.sentences(inputs.names)
            warn(where, coverage, inputs.names)
        found = likeness(train, validation, self._config.likeness)
        alike = "" if found is None else found.sentence(inputs.columns)
        if alike:
            log.warning("%s: %s", where, alike)
        return (*said, alike) if alike else said

    def _fit_head(self, labels: Labels, z: Floats, z_validation: Floats, plan: TrainingPlan) -> tuple[Head, float]:
        """Return the head that does best on the validation labels, and its CRPS skill there against the yardstick."""
        candidates = self._learner.learn(labels, plan)
        x, x_validation, overlap = labels.x, labels.x_validation, labels.overlap
        if not len(z_validation):
            return _head(candidates[len(candidates) // 2], self._config.default_share, None, x, z), 0.0
        step = -(-len(x) // _JUDGED)
        few, few_z = x[::step], z[::step]  # residuals for choosing; those of the chosen one are of all rows
        logs = [(scale.predict(few), scale.predict(x_validation)) for scale in candidates]
        reference = _judge(*logs[0], 0.0, few_z, z_validation)  # the yardstick
        best, gain = candidates[0], np.zeros(len(z_validation))
        best_share = 0.0
        for share in sorted(self._config.shares):  # of equals, the smaller share
            for scale, log_scales in zip(candidates, logs, strict=True) if share else ():
                gained = reference - _judge(*log_scales, share, few_z, z_validation)
                if gained.mean() > gain.mean():
                    best, best_share, gain = scale, share, gained
        # Positive-part shrinkage: what is gained within the noise of few labels is not believed (James & Stein 1961).
        trust = 1.0 - (self._config.evidence_errors / max(_t(gain, overlap), 1e-9)) ** 2
        head = _head(best, best_share * max(trust, 0.0), None, x, z)
        penalty = x.shape[1] * overlap / (len(x) * self._config.location_share)
        moved = _head(best, head.share, ridge(x, z, penalty, labels.covariance), x, z)
        score = _score(head, x_validation, z_validation)
        if _t(score - _score(moved, x_validation, z_validation), overlap) > self._config.location_errors:
            head, score = moved, _score(moved, x_validation, z_validation)
        return head, 1.0 - float(score.mean() / reference.mean())

    def forecast(self, dataset: Dataset, rows: NDArray[np.int64], provenance: Provenance, seed: int = 0) -> Forecast:
        """Return the forecasts of the chosen rows; raises ModelError for other features than it was fitted on."""
        check_horizons(dataset, self._horizons, self.family)
        raw, names = design(dataset, rows)
        inputs = self._fitted()
        if names != inputs.names:
            changed = sorted(set(names) ^ set(inputs.names))
            raise ModelError(f"{self.family} was fitted on other features ({', '.join(changed[:5])}): fit it again.")
        self._missing.tell(f"{self.family} of {dataset.symbol}", inputs.unknown(raw))
        x, yardstick = inputs.transform(raw), dataset.yardstick[rows]
        if not np.isfinite(yardstick).all():
            raise ModelError(f"{self.family}: the yardstick is unknown at some rows; ask for usable rows only.")
        moments = [head.moments(x) for head in self._heads]
        mean = np.stack([location for location, _ in moments], axis=1) * yardstick
        widths = np.array([head.residuals.std for head in self._heads])
        std = np.stack([scale for _, scale in moments], axis=1) * yardstick * widths
        quantiles = np.stack([head.quantiles(x) for head in self._heads], axis=1) * yardstick[..., None]
        return to_forecast(self.family, dataset, rows, provenance, self._trained_until, mean, std, quantiles)

    def open(self, feed: Feed, snapshot: Path | None = None) -> Session:
        """Follow the market; there is no state between bars, so a snapshot holds nothing."""
        return BulkSession(self, feed)

    def save(self, folder: Path) -> None:
        """Write scaler, locations, shares and residuals as JSON and the scales as their learner does."""
        from fxgpt_core.models.tabular.files import write_heads

        inputs = self._fitted()
        write_heads(folder, self._horizons, inputs.save(folder), self._heads, self._trained_until)
        self._learner.save(folder, [head.scale for head in self._heads], inputs.columns)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        from fxgpt_core.models.tabular.files import read_heads

        values = read_heads(folder)
        scales = self._learner.load(folder, len(values["heads"]))
        self._horizons, self._inputs = tuple(values["horizons"]), Inputs.load(folder, values)
        self._trained_until = np.datetime64(values["trained_until"], "ns")
        self._heads = [_restore(scale, head) for scale, head in zip(scales, values["heads"], strict=True)]

    def _fitted(self) -> Inputs:
        if self._inputs is None:
            raise ModelError(f"{self.family} must be fitted before it can be saved or asked for a forecast.")
        return self._inputs


def _head(scale: ScaleModel, share: float, location: Linear | None, x: Matrix, z: Floats) -> Head:
    """Return the head whose residuals are those of the training labels `z`: (rows,)."""
    centre = float(np.mean(scale.predict(x)))
    bare = Head(scale, centre, share, location, Residuals(np.zeros(1), 1.0))
    at, width = bare.moments(x)
    return Head(scale, centre, share, location, fit_residuals((z - at) / width))


def _width(log_scale: Floats, centre: float, share: float) -> Floats:
    return np.asarray(np.exp(np.clip(share * (log_scale - centre), -_LIMIT, _LIMIT)))


def _judge(train: Floats, validation: Floats, share: float, z: Floats, z_validation: Floats) -> Floats:
    """Return the validation CRPS of a share of log scales that are known on training and validation rows: (rows,)."""
    centre = float(np.mean(train))
    residuals = fit_residuals(z / _width(train, centre, share))
    return crps(z_validation, _width(validation, centre, share)[:, None] * residuals.quantiles)


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
