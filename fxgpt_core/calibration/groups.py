"""Groups of rows with corrections of their own: Mondrian conformal prediction (Vovk, Gammerman & Shafer 2005, ch. 4.5).

Within a group rows are exchangeable where they are not over all: at night, or while volatility is high, the same
forecast may err in another way. A group must be known when the forecast is made. Sessions follow from the decision
time, volatility is the third of past rows in which the predicted spread falls; both need the forecast only. Regimes
come from the features (see `labels`) and are passed in, as are any labels that the caller names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.calibration.intervals import spread
from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.market.sessions import session_label

Floats = NDArray[np.float64]
Labels = NDArray[np.str_]

REGIMES = ("calm", "normal", "wild")
GIVEN = "given"
"""Grouping of labels that the caller names, when fitting and when applying."""


@dataclass(frozen=True)
class Groups:
    """Corrections by group.

    `grouping`: as configured, or `given`; `edges`: the two mean log spreads between thirds of predicted volatility,
    empty for groupings without it. `names`: (groups,); `offsets`: (groups, horizons, pairs), the correction of all rows
    where a group has too few effective ones; `rows`, `effective_rows`: (groups, horizons), what a group has.
    """

    grouping: str
    edges: tuple[float, ...]
    names: tuple[str, ...]
    offsets: Floats
    rows: NDArray[np.int64]
    effective_rows: Floats

    def offsets_of(self, labels: Labels, otherwise: Floats) -> Floats:
        """Return the offsets of each row, (rows, horizons, pairs); `otherwise` where its group was never seen."""
        table = np.concatenate([self.offsets, otherwise[None]])
        index = {name: position for position, name in enumerate(self.names)}
        unique, inverse = np.unique(labels, return_inverse=True)
        where = np.array([index.get(str(name), len(self.names)) for name in unique], dtype=np.int64)
        return np.asarray(table[where[inverse]])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "grouping": self.grouping,
            "edges": list(self.edges),
            "names": list(self.names),
            "offsets": self.offsets.tolist(),
            "rows": self.rows.tolist(),
            "effective_rows": self.effective_rows.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Groups:
        """Rebuild from `to_dict`."""
        return cls(
            values["grouping"],
            tuple(values["edges"]),
            tuple(values["names"]),
            np.asarray(values["offsets"], dtype=np.float64),
            np.asarray(values["rows"], dtype=np.int64),
            np.asarray(values["effective_rows"], dtype=np.float64),
        )


def volatility_edges(forecast: Forecast) -> tuple[float, ...]:
    """Return the mean log spreads that cut the rows into thirds."""
    low, high = np.quantile(_level(forecast), [1 / 3, 2 / 3])
    return (float(low), float(high))


def label_rows(forecast: Forecast, grouping: str, edges: tuple[float, ...], given: Labels | None = None) -> Labels:
    """Return the group of each row, (rows,), from what is known when the forecast is made.

    Raises ModelError where labels must be given (`given` and the regimes) and are not, or do not fit the rows.
    """
    if grouping in (GIVEN, "regime", "session_regime"):
        if given is None or given.shape != (len(forecast),):
            raise ModelError(
                f"Calibration of {forecast.family} for {forecast.symbol} is by {grouping} labels: pass one label for "
                f"each of {len(forecast)} rows, not {'none' if given is None else given.shape}."
            )
        return given.astype(str)
    if grouping == "session":
        return session_label(forecast.decided_at)
    level = np.asarray(REGIMES)[np.searchsorted(np.asarray(edges), _level(forecast))]
    if grouping == "volatility":
        return level
    return np.char.add(np.char.add(session_label(forecast.decided_at), "/"), level)


def _level(forecast: Forecast) -> Floats:
    """Return the mean log spread over the horizons: (rows,)."""
    return np.asarray(np.log(spread(forecast)).mean(axis=1))
