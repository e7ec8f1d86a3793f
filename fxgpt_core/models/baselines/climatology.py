"""Climatology: the training span's distribution of returns whatever the moment, mirrored so that it has no drift."""

from __future__ import annotations

import numpy as np

from fxgpt_core.common.config import Config as BaseConfig
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.baselines.walk import Floats, Walk


class Config(BaseConfig):
    """Nothing to set: every training label counts the same."""


def create(config: Config) -> Walk:
    """Return an unfitted baseline."""

    def volatility(dataset: Dataset) -> Floats:
        return np.ones((len(dataset), len(dataset.horizons)))

    return Walk("climatology", volatility, shape="empirical")
