"""From arrays of a fitted family to a stamped `Forecast`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.models.forecaster import Provenance

Floats = NDArray[np.float64]


def to_forecast(
    family: str,
    dataset: Dataset,
    rows: NDArray[np.int64],
    provenance: Provenance,
    trained_until: np.datetime64,
    mean: Floats,
    std: Floats,
    quantiles: Floats,
) -> Forecast:
    """Return the forecast of the chosen base bars; shapes and units are those of `Forecast`, without samples."""
    count = len(rows)
    return Forecast(
        symbol=dataset.symbol,
        family=family,
        horizons=dataset.horizons,
        decided_at=dataset.known_at[rows],
        made_at=np.full(count, provenance.made_at, dtype="datetime64[ns]"),
        trained_until=np.full(count, trained_until, dtype="datetime64[ns]"),
        model_version=np.full(count, provenance.model_version, dtype=object),
        calibration_version=np.full(count, "", dtype=object),
        origin=np.full(count, provenance.origin, dtype=object),
        mean=mean,
        std=std,
        quantiles=quantiles,
    )


def split_of(dataset: Dataset, family: str) -> Split:
    """Return the split to fit on; raises ModelError when the dataset has none."""
    if dataset.split is None:
        raise ModelError(f"{family} cannot be fitted to {dataset.symbol}: the dataset has no split; use with_split.")
    return dataset.split


def check_horizons(dataset: Dataset, horizons: tuple[int, ...], family: str) -> None:
    """Raise ModelError when the model was not fitted, or for other horizons than the dataset has."""
    if not horizons:
        raise ModelError(f"{family} must be fitted or loaded before it can forecast.")
    if dataset.horizons != horizons:
        raise ModelError(
            f"{family} was fitted for the horizons {horizons} minutes, the data of {dataset.symbol} have "
            f"{dataset.horizons}: fit it again."
        )
