"""Filtered historical simulation: past returns in units of the yardstick, scaled by today's (Barone-Adesi et al. 1999).

Each horizon draws from its own standardised returns instead of chaining one-bar draws, so that dependence within the
horizon stays as it was. The standardised returns are mirrored, so that the training span's drift is not forecast.
"""

from __future__ import annotations

from fxgpt_core.common.config import Config as BaseConfig
from fxgpt_core.models.baselines.walk import Walk


class Config(BaseConfig):
    """Nothing to set: the volatility is the yardstick, which the feature configuration steers."""


def create(config: Config) -> Walk:
    """Return an unfitted baseline."""
    return Walk("filtered_historical", lambda dataset: dataset.yardstick, shape="empirical")
