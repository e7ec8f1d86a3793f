"""Random walk whose volatility is a plain EWMA of squared returns, blind to the time of day and week."""

from __future__ import annotations

from pydantic import Field

from fxgpt_core.common.config import Config as BaseConfig
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.spec import YardstickConfig
from fxgpt_core.features.targets import make_labels
from fxgpt_core.features.yardstick import Floats, plain
from fxgpt_core.models.baselines.walk import Walk


class Config(BaseConfig):
    """The EWMA's own settings; `seasonal` is always off here."""

    volatility: YardstickConfig = Field(default=YardstickConfig(), description="Half-lives and mixture of the EWMA.")


def create(config: Config) -> Walk:
    """Return an unfitted baseline."""

    def volatility(dataset: Dataset) -> Floats:
        return plain(config.volatility).forecast(dataset.candles, make_labels(dataset.candles, dataset.horizons))

    return Walk("ewma", volatility)
