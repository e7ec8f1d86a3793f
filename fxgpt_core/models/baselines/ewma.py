"""Random walk whose volatility is a plain EWMA of squared returns, blind to the time of day and week."""

from __future__ import annotations

from pydantic import Field

from fxgpt_core.common.config import Config as BaseConfig
from fxgpt_core.features.spec import YardstickConfig
from fxgpt_core.models.baselines.yardstick_walk import YardstickWalk


class Config(BaseConfig):
    """The EWMA's own settings; `seasonal` is always off here."""

    volatility: YardstickConfig = Field(default=YardstickConfig(), description="Half-lives and mixture of the EWMA.")


def create(config: Config) -> YardstickWalk:
    """Return an unfitted baseline."""
    return YardstickWalk("ewma", config.volatility.model_copy(update={"seasonal": False}))
