"""The group of each decision where it does not follow from the forecast itself: the filtered regime of the features.

One function for walk-forward calibration, the calibrator that goes live and live forecasts, so that a decision has the
same group in all three.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.calibration.groups import REGIMES, Labels
from fxgpt_core.common.errors import DataError
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.market.sessions import session_label

UNKNOWN = "unknown"
"""Regime of decisions before the model of regimes has enough bars to learn from."""

BY_REGIME = ("regime", "session_regime")


def decision_labels(dataset: Dataset, decided_at: NDArray[np.datetime64], grouping: str | None) -> Labels | None:
    """Return the group of each decision, (rows,), None where the grouping needs no features.

    `decided_at`: (rows,) closes of base bars of the dataset. Sessions are those of the calendar; regimes are
    `regime_of` the dataset. Raises DataError where the dataset lacks a decision or has no regime columns.
    """
    if grouping not in BY_REGIME:
        return None
    bars = np.minimum(np.searchsorted(dataset.known_at, decided_at), len(dataset) - 1)
    missing = dataset.known_at[bars] != decided_at
    if missing.any():
        raise DataError(
            f"{dataset.symbol}: {int(missing.sum())} of {len(decided_at)} decisions, the first at "
            f"{decided_at[missing][0]}, are no closes of its {len(dataset)} {dataset.base} bars: their regime is not "
            "known."
        )
    regime: Labels = regime_of(dataset)[bars]
    if grouping == "regime":
        return regime
    return np.char.add(np.char.add(session_label(decided_at), "/"), regime)


def regime_of(dataset: Dataset) -> Labels:
    """Return the most probable state of the regime features at each base bar, (bars,): calm, normal, wild, unknown.

    The features are filtered: they know the bars up to this one and a model of the months before (feature group
    `regime`). `normal` is every state between the least and the most volatile one.
    """
    table, code = dataset.tables[dataset.base.code], dataset.base.code
    try:
        calm, wild = (table.values[:, table.names.index(f"regime_{name}_{code}")] for name in ("calm", "wild"))
    except ValueError as error:
        raise DataError(
            f"Calibration of {dataset.symbol} by regime needs the columns regime_calm_{code} and regime_wild_{code}: "
            "switch the feature group `regime` on, or set calibration.groups to volatility or session."
        ) from error
    return most_probable(calm, wild)


def most_probable(calm: NDArray[Any], wild: NDArray[Any]) -> Labels:
    """Return the state that (bars,) probabilities of the least and the most volatile one leave as the likeliest."""
    state = np.stack([calm, 1 - calm - wild, wild], axis=1)  # (bars, states)
    known = np.isfinite(state).all(axis=1)
    most = np.where(known[:, None], state, 0.0).argmax(axis=1)
    return np.where(known, np.asarray(REGIMES)[most], UNKNOWN)
