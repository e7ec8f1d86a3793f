"""HAR-RV: the yardstick with a heterogeneous autoregression as its level (Corsi 2009; `features.har`)."""

from __future__ import annotations

from pydantic import Field

from fxgpt_core.common.config import Config as BaseConfig
from fxgpt_core.features.spec import YardstickConfig
from fxgpt_core.models.baselines.yardstick_walk import YardstickWalk


class Config(BaseConfig):
    """The yardstick's settings; its level is always the autoregression here."""

    volatility: YardstickConfig = Field(default=YardstickConfig(), description="Seasonality, EWMAs and spans.")


def create(config: Config) -> YardstickWalk:
    """Return an unfitted baseline."""
    return YardstickWalk("har", config.volatility.model_copy(update={"level": "har"}))
