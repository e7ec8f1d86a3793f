"""HAR-RV: the yardstick with a heterogeneous autoregression as its level (Corsi 2009; `features.har`)."""

from __future__ import annotations

from pydantic import Field

from fxgpt_core.common.config import Config as BaseConfig
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.spec import YardstickConfig
from fxgpt_core.features.targets import make_labels
from fxgpt_core.features.yardstick import Yardstick
from fxgpt_core.models.baselines.walk import Floats, Walk


class Config(BaseConfig):
    """The yardstick's settings; its level is always the autoregression here."""

    volatility: YardstickConfig = Field(default=YardstickConfig(), description="Seasonality, EWMAs and spans.")


def create(config: Config) -> Walk:
    """Return an unfitted baseline."""
    settings = config.volatility.model_copy(update={"level": "har"})

    def volatility(dataset: Dataset) -> Floats:
        return Yardstick(settings).forecast(dataset.candles, make_labels(dataset.candles, dataset.horizons))

    return Walk("har", volatility)
