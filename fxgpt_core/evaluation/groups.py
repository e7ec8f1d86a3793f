"""Labels by which scores are broken down: hour, session, volatility, scheduled releases, and any that are passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.market.sessions import session_label

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
Text = NDArray[np.str_]

UNKNOWN = "unknown"
BUCKETS = ("lowest", "low", "middle", "high", "highest")
_NEVER = np.timedelta64(2**62, "ns")


@dataclass(frozen=True)
class Labels:
    """A label per decision, such as the regime: `decided_at` (rows,) datetime64[ns] UTC, increasing; `values` (rows,).

    What a label says must have been known at `decided_at`. Raises DataError when the two do not fit.
    """

    decided_at: Times
    values: NDArray[Any]

    def __post_init__(self) -> None:
        if len(self.decided_at) != len(self.values) or (np.diff(self.decided_at) <= np.timedelta64(0, "ns")).any():
            raise DataError(
                f"Labels: {len(self.values)} values for {len(self.decided_at)} decisions, which must be as many and "
                "increase strictly."
            )

    def at(self, decided_at: Times) -> Text:
        """Return the labels of the given decisions as text, `unknown` where there is none: (rows,)."""
        out = np.full(len(decided_at), UNKNOWN, dtype=object)
        _, here, there = np.intersect1d(decided_at, self.decided_at, assume_unique=True, return_indices=True)
        out[here] = self.values[there].astype(str)
        return out.astype(str)


def hours(decided_at: Times) -> Text:
    """Return the hour (UTC) of each decision, "00" to "23"."""
    hour = decided_at.astype("datetime64[h]").astype(np.int64) % 24
    return np.asarray(_HOURS[hour])


def sessions(decided_at: Times) -> Text:
    """Return the sessions at work at each decision (`market.sessions.session_label`)."""
    return session_label(decided_at)


def volatility_buckets(level: Floats) -> Text:
    """Return the fifth of the rows in which a (rows,) volatility, known beforehand, falls: `lowest` to `highest`."""
    edges = np.quantile(level, np.arange(1, len(BUCKETS)) / len(BUCKETS))
    return np.asarray(np.asarray(BUCKETS)[np.searchsorted(edges, level, side="right")])


def release_windows(decided_at: Times, label_end: Times, releases: Times, after: np.timedelta64) -> Text:
    """Return how each decision lies to scheduled releases, (rows,) from ascending times (releases,).

    `ahead`: a release falls into the life of the label, after the decision; `after`: the last one is at most `after`
    old and none is ahead; `quiet`: neither. A label that never ended is looked at by its decision only.
    """
    if not len(releases):
        return np.full(len(decided_at), "quiet")
    following = np.searchsorted(releases, decided_at, side="right")
    next_release = releases[np.minimum(following, len(releases) - 1)]
    ahead = (following < len(releases)) & (next_release <= label_end)  # NaT compares false
    since = np.where(following > 0, decided_at - releases[np.maximum(following - 1, 0)], _NEVER)
    return np.where(ahead, "ahead", np.where(since <= after, "after", "quiet"))


_HOURS = np.array([f"{hour:02d}" for hour in range(24)])
