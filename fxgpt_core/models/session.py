"""`Session`: a fitted model that follows the market bar by bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.market.candles import Candles

if TYPE_CHECKING:
    from fxgpt_core.models.forecaster import Forecaster, Provenance


class Session(Protocol):
    """Live use of one fitted model on one symbol: the same for every family.

    `update` takes closed bars of any timeframe of the feed and returns a sentence for each gap before them; it raises
    BadInputError, and changes nothing, for bars out of order. `forecast` speaks at the close of the newest base bar:
    one row, raw (calibration is the bundle's), for all horizons or the chosen ones, equal to a batch forecast of that
    bar. `save` keeps what a restart needs in a folder, beside the bars themselves, which the lake keeps.
    """

    feed: Feed

    def update(self, candles: Candles) -> tuple[str, ...]: ...

    def forecast(self, provenance: Provenance, horizons: Sequence[int] | None = None, seed: int = 0) -> Forecast: ...

    def save(self, folder: Path) -> None: ...


class BulkSession:
    """Session of a family that keeps no state between bars: each forecast is a batch of one row."""

    def __init__(self, forecaster: Forecaster, feed: Feed) -> None:
        self.forecaster, self.feed = forecaster, feed

    def update(self, candles: Candles) -> tuple[str, ...]:
        """See `Session.update`."""
        return self.feed.update(candles)

    def forecast(self, provenance: Provenance, horizons: Sequence[int] | None = None, seed: int = 0) -> Forecast:
        """See `Session.forecast`."""
        dataset = self.feed.dataset
        row = newest(dataset)
        made = self.forecaster.forecast(dataset, np.array([row]), provenance, seed)
        return made if horizons is None else select(made, chosen(self.feed.horizons, horizons))

    def save(self, folder: Path) -> None:
        """See `Session.save`: there is nothing but the bars, so the folder stays empty."""
        folder.mkdir(parents=True, exist_ok=True)


def newest(dataset: Dataset) -> int:
    """Return the newest base bar; raises ModelError while nothing can be forecast at it."""
    if not len(dataset) or not dataset.usable[-1]:
        raise ModelError(
            f"{dataset.symbol}: the volatility yardstick is not known at the last of {len(dataset)} bars; give about "
            "20 trading days of history or more."
        )
    return len(dataset) - 1


def chosen(known: Sequence[int], horizons: Sequence[int] | None) -> tuple[int, ...]:
    """Return which columns of the `known` horizons (minutes) are asked for, in their order; all where None.

    Raises ModelError for a horizon that is not known, and where none is asked for.
    """
    if horizons is None:
        return tuple(range(len(known)))
    unknown = [h for h in horizons if h not in known]
    if unknown or not horizons:
        raise ModelError(
            f"Horizons {list(horizons)} minutes were asked for, the model forecasts {list(known)}: choose among those."
        )
    return tuple(i for i, horizon in enumerate(known) if horizon in horizons)


def select(forecast: Forecast, columns: Sequence[int]) -> Forecast:
    """Return the forecast of some horizons, by column."""
    at = list(columns)
    return replace(
        forecast,
        horizons=tuple(forecast.horizons[i] for i in at),
        mean=forecast.mean[:, at],
        std=forecast.std[:, at],
        quantiles=forecast.quantiles[:, at],
        samples=None if forecast.samples is None else forecast.samples[:, :, at],
    )
