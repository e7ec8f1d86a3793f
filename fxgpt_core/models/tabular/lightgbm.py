"""LightGBM: a boosted log scale over all features, by gamma likelihood, stopped early on the validation labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from fxgpt_core.models.tabular.linear import Floats, Matrix
from fxgpt_core.models.tabular.location_scale import Labels, LocationScaleConfig, LocationScaleForecaster, ScaleModel
from fxgpt_core.training.plan import TrainingPlan

_FLOOR = 1e-3  # the gamma likelihood knows no zeros; a thousandth of the yardstick is none


class Config(LocationScaleConfig):
    """Settings of the LightGBM family."""

    rounds: int = Field(default=300, ge=1, le=10_000, description="Most trees per horizon.")
    default_rounds: int = Field(default=60, ge=1, le=10_000, description="Trees where there are no validation labels.")
    patience: int = Field(default=25, ge=1, le=1000, description="Rounds without improvement before it stops.")
    learning_rate: float = Field(default=0.05, gt=0, le=1, description="Shrinkage of each tree.")
    leaves: int = Field(default=15, ge=2, le=1024, description="Leaves of a tree.")
    min_leaf_share: float = Field(default=0.01, gt=0, le=0.5, description="Least share of training rows in a leaf.")
    feature_share: float = Field(default=0.4, gt=0, le=1, description="Share of the columns that each tree sees.")
    row_share: float = Field(default=0.7, gt=0, le=1, description="Share of the rows that each tree sees.")
    l2: float = Field(default=10.0, ge=0, description="Penalty of leaf values.")


@dataclass(frozen=True)
class BoostedScale:
    """A trained booster that predicts the log scale."""

    booster: Any

    def predict(self, x: Matrix) -> Floats:
        """Return (rows,) float64."""
        return np.asarray(self.booster.predict(x, raw_score=True, num_threads=1), dtype=np.float64)


class LightGBMLearner:
    """Learns the log scale by boosting; the same seed gives the same trees."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def learn(self, labels: Labels, plan: TrainingPlan) -> Sequence[ScaleModel]:
        """Return one model, with as many trees as did best on the validation labels."""
        import lightgbm as lgb

        config = self._config
        data = lgb.Dataset(labels.x, np.maximum(labels.size, _FLOOR), free_raw_data=False)
        watched: list[Any] = []
        callbacks: list[Any] = []
        rounds = config.default_rounds
        if len(labels.size_validation):
            size = np.maximum(labels.size_validation, _FLOOR)
            watched = [lgb.Dataset(labels.x_validation, size, reference=data)]
            callbacks, rounds = [lgb.early_stopping(config.patience, verbose=False)], config.rounds
        booster = lgb.train(
            self._parameters(len(labels.x), plan), data, rounds, valid_sets=watched, callbacks=callbacks
        )
        return [BoostedScale(booster)]

    def _parameters(self, rows: int, plan: TrainingPlan) -> dict[str, Any]:
        config = self._config
        return {
            "objective": "gamma",
            "metric": "gamma",
            "learning_rate": config.learning_rate,
            "num_leaves": config.leaves,
            "min_data_in_leaf": max(5, int(config.min_leaf_share * rows)),
            "feature_fraction": config.feature_share,
            "bagging_fraction": config.row_share,
            "bagging_freq": 1,
            "lambda_l2": config.l2,
            "max_bin": 63,
            "seed": plan.seed,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": plan.threads,
            "verbosity": -1,
        }

    def save(self, folder: Path, models: Sequence[ScaleModel], names: Sequence[str]) -> None:
        """Write one model text per horizon."""
        for index, model in enumerate(models):
            if isinstance(model, BoostedScale):
                model.booster.save_model(str(folder / f"scale_{index}.txt"))

    def load(self, folder: Path, count: int) -> list[ScaleModel]:
        """Read the models of all horizons."""
        import lightgbm as lgb

        return [BoostedScale(lgb.Booster(model_file=str(folder / f"scale_{index}.txt"))) for index in range(count)]


def create(config: Config) -> LocationScaleForecaster:
    """Return an unfitted forecaster."""
    return LocationScaleForecaster("lightgbm", config, LightGBMLearner(config))
