"""From arrays of a fitted family to a stamped `Forecast`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import LEVELS, Forecast, from_standardised
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


def empty_forecast(
    family: str, dataset: Dataset, provenance: Provenance, trained_until: np.datetime64, draws: int
) -> Forecast:
    """Return what a family that forecasts by `draws` says of no rows at all."""
    none, horizons = np.empty((0, len(dataset.horizons))), dataset.horizons
    return from_standardised(
        symbol=dataset.symbol,
        family=family,
        horizons=horizons,
        decided_at=dataset.known_at[:0],
        made_at=provenance.made_at,
        trained_until=trained_until,
        model_version=provenance.model_version,
        yardstick=none,
        mean=none,
        std=none,
        quantiles=np.empty((0, len(horizons), len(LEVELS))),
        samples=np.empty((0, draws, len(horizons)), dtype=np.float32),
        origin=provenance.origin,
    )


def split_of(dataset: Dataset, family: str) -> Split:
    """Return the split to fit on; raises ModelError when the dataset has none."""
    if dataset.split is None:
        raise ModelError(f"{family} cannot be fitted to {dataset.symbol}: the dataset has no split; use with_split.")
    return dataset.split


def labelled_split(dataset: Dataset, family: str) -> Split:
    """Return the split to train on; raises ModelError when there is none, or no label to train on or to stop by."""
    split, known = split_of(dataset, family), np.isfinite(dataset.targets)
    for name, mask in (("training", split.train), ("validation", split.validation)):
        if not (mask & known).any():
            raise ModelError(
                f"{family} cannot train on split {split.name} of {dataset.symbol}: it has no {name} labels; import "
                "more bars."
            )
    return split


def check_horizons(dataset: Dataset, horizons: tuple[int, ...], family: str) -> None:
    """Raise ModelError when the model was not fitted, or for other horizons than the dataset has."""
    if not horizons:
        raise ModelError(f"{family} must be fitted or loaded before it can forecast.")
    if dataset.horizons != horizons:
        raise ModelError(
            f"{family} was fitted for the horizons {horizons} minutes, the data of {dataset.symbol} have "
            f"{dataset.horizons}: fit it again."
        )
