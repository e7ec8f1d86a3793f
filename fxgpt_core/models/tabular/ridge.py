"""Ridge: a linear log scale over all features (a HAR model with many regressors), by penalised gamma likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from fxgpt_core.models.tabular.linear import Floats, Linear, Matrix, gamma_ridge
from fxgpt_core.models.tabular.location_scale import LocationScaleConfig, LocationScaleForecaster, ScaleModel
from fxgpt_core.training.plan import TrainingPlan

_FILE = "scale.safetensors"


class Config(LocationScaleConfig):
    """Settings of the ridge family."""

    penalties: tuple[float, ...] = Field(
        default=(3.0, 0.3, 0.03, 0.003),
        min_length=1,
        description="Penalties of the log scale to choose from on the validation labels, strongest first.",
    )


class RidgeLearner:
    """Learns the log scale along a path of penalties, each started from the one before."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def learn(
        self, x: Matrix, size: Floats, x_validation: Matrix, size_validation: Floats, overlap: int, plan: TrainingPlan
    ) -> Sequence[ScaleModel]:
        """Return one model per penalty."""
        path: list[Linear] = []
        for penalty in self._config.penalties:
            path.append(gamma_ridge(x, size, penalty, path[-1] if path else None))
        return path

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
