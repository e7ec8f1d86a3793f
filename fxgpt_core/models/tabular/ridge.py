"""Ridge: a linear log scale over all features (a HAR model with many regressors), by penalised gamma likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from fxgpt_core.models.tabular.design import is_core, of_base_bars
from fxgpt_core.models.tabular.linear import Floats, GammaRidge, Linear
from fxgpt_core.models.tabular.location_scale import Labels, LocationScaleConfig, LocationScaleForecaster, ScaleModel
from fxgpt_core.training.plan import TrainingPlan

_FILE = "scale.safetensors"


class Config(LocationScaleConfig):
    """Settings of the ridge family."""

    penalties: tuple[float, ...] = Field(
        default=(100.0, 30.0, 10.0, 3.0, 1.0),
        min_length=1,
        description="Penalties of the log scale to choose from on the validation labels, strongest first, in units of "
        "columns / labels that do not overlap: more columns and fewer labels shrink more.",
    )
    others: tuple[float, ...] = Field(
        default=(0.0, 0.1, 1.0),
        min_length=1,
        description="Prior variance of columns other than log volatilities, relative to theirs, to choose from as "
        "well; 0 leaves them out, so that mere width cannot drown what is known to matter.",
    )

    @model_validator(mode="after")
    def _ranges(self) -> Config:
        if not all(p > 0 for p in self.penalties):
            raise ValueError(f"penalties {self.penalties} must be positive")
        if not all(o >= 0 for o in self.others) or not any(self.others):
            raise ValueError(f"others {self.others} must not be negative, nor all 0")
        return self


class RidgeLearner:
    """Learns the log scale along paths of penalties, each fit started from the one before.

    One prior for every column would let hundreds of indicators together outweigh the dozen log volatilities that carry
    most of the skill. So the columns come in groups (group-regularised ridge, van de Wiel et al. 2016), and the penalty
    is that of a fixed prior variance of the whole log scale: per column it grows with their number. The models are
    nested: those of the base bars alone, all log volatilities, the others as well; of equals the narrowest is taken.
    """

    def __init__(self, config: Config) -> None:
        self._config = config

    def learn(self, labels: Labels, plan: TrainingPlan) -> Sequence[ScaleModel]:
        """Return one model per prior and penalty."""
        x, rows = labels.x, len(labels.x) / labels.overlap
        found: list[Linear] = []
        for prior in self._priors(labels.names):
            solver, last = GammaRidge(x, labels.covariance, prior), None
            for penalty in self._config.penalties:
                last = solver.fit(labels.size, penalty * float((prior**2).sum()) / rows, last)
                found.append(last)
        return found

    def _priors(self, names: Sequence[str]) -> list[Floats]:
        """Return the prior deviations to choose from, narrowest first: (columns,) each."""
        core = np.array([is_core(name) for name in names])
        own = of_base_bars(names)
        others = self._config.others if core.any() and not core.all() else (1.0,)
        wide = [np.where(core, 1.0, np.sqrt(variance)) for variance in others]
        return [own.astype(np.float64), *wide] if own.any() and not own.all() else wide

    def save(self, folder: Path, models: Sequence[ScaleModel], names: Sequence[str]) -> None:
        """Write weights and intercepts of all horizons as one safetensors file."""
        from safetensors.numpy import save_file

        linear = [model for model in models if isinstance(model, Linear)]
        tensors = {
            "weights": np.stack([model.weights for model in linear]),
            "intercepts": np.array([model.intercept for model in linear]),
        }
        save_file(tensors, folder / _FILE)

    def load(self, folder: Path, count: int) -> list[ScaleModel]:
        """Read the models of all horizons."""
        from safetensors.numpy import load_file

        tensors = load_file(folder / _FILE)
        return [Linear(tensors["weights"][i], float(tensors["intercepts"][i])) for i in range(count)]


def create(config: Config) -> LocationScaleForecaster:
    """Return an unfitted forecaster."""
    return LocationScaleForecaster("ridge", config, RidgeLearner(config))
