"""Random walk whose volatility is the dataset's yardstick: the strongest honest baseline, and the one to beat."""

from __future__ import annotations

from fxgpt_core.common.config import Config as BaseConfig
from fxgpt_core.models.baselines.walk import Walk


class Config(BaseConfig):
    """Nothing to set: the volatility is the yardstick, which the feature configuration steers."""


def create(config: Config) -> Walk:
    """Return an unfitted baseline."""
    return Walk("seasonal_ewma", lambda dataset: dataset.yardstick)
