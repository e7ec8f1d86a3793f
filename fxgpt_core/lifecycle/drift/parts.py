"""What one group of columns of the training span is remembered by, and how a window is compared with it.

Three kinds: `KsPart` and `LevelPart` compare column by column, `MmdPart` all columns at once. Features are compared by
the first two, PIT values by the first, predictions and residuals by the last; `volatility.VolatilityPart` is a fourth.

Why standardised: slow columns (a 288-bar volatility) differ from the whole span in every single week, fast ones
(absolute returns) never. Each column's KS is therefore counted in standard deviations of its own training windows, and
the largest over columns is the statistic. (On real hourly EURUSD bars with the last week's volatility tripled the plain
largest KS stayed below its threshold in nine of thirteen cases, the standardised one never.) While the threshold is
set, a window is standardised without the windows that overlap it, as a new one will be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.lifecycle.drift.columns import DriftTable
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.detectors import DriftDetector
from fxgpt_core.lifecycle.drift.statistics import ks_against_sorted, median_bandwidth, mmd2, rbf
from fxgpt_core.lifecycle.drift.volatility import VolatilityPart
from fxgpt_core.lifecycle.drift.windows import (
    ROOT,
    Window,
    sampled,
    thinned,
    threshold_of,
    training_windows,
    usual_rows,
    weeks_of,
)

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_LEAST_SPREAD = 0.01  # of a KS distance; a column that hardly varies must not be divided by nearly nothing
_FAR = 20.0  # standard deviations; one wild value must not decide about a window
_LEVELS = 100


@dataclass(frozen=True)
class KsPart:
    """`values`: (rows, columns) float32 sampled from the span, infinite where missing.

    `centre`, `spread`: (columns,) mean and standard deviation of each column's KS over the span's own windows;
    `threshold`: of the largest standardised KS; `weeks`: windows that do not overlap behind it; `window_rows`: rows in
    a usual window. A missing value counts as one beyond all others, so a column that stops being known has moved.
    """

    kind: ClassVar[str] = "ks"
    names: tuple[str, ...]
    values: Singles
    centre: Floats
    spread: Floats
    threshold: float
    weeks: int
    window_rows: int

    @classmethod
    def build(cls, span: DriftTable, config: DriftConfig, monthly: float, rng: np.random.Generator) -> KsPart:
        """Return the part of a span; columns that are constant or missing in a tenth of the rows are left out."""
        span = _from_first_complete(span.select(judged_columns(span)))
        windows, rows = training_windows(span.known_at, config), sampled(len(span), config.reference_rows, rng)
        values = _with_missing(span.values)
        distances = _window_ks(values, rows, windows)  # (windows, columns)
        return cls(
            names=span.names,
            values=values[rows],
            centre=distances.mean(axis=0),
            spread=np.maximum(distances.std(axis=0, ddof=1), _LEAST_SPREAD),
            threshold=threshold_of(_standardised_maxima(distances, windows, config), windows, config, monthly),
            weeks=weeks_of(windows, config),
            window_rows=usual_rows(windows),
        )

    def compare(self, window: DriftTable, detector: DriftDetector) -> tuple[Floats, Floats]:
        """Return each column's KS distance and the same in standard deviations: (columns,) each."""
        distances = detector.ks(self.values, _with_missing(window.values))
        return distances, (distances - self.centre) / self.spread

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is stored as arrays."""
        return {"values": self.values, "centre": self.centre, "spread": self.spread}


@dataclass(frozen=True)
class LevelPart:
    """How far off a column is, where `KsPart` says how surely it differs: one in the wrong unit, with a flipped sign.

    KS cannot show that of slow columns: whole calm weeks of theirs lie beyond the rest of the span, and no distance is
    greater than 1. `quantiles`: (levels, columns) of the span's rows, standardised by `location` and `scale` (columns,)
    and clipped; `centre`, `spread`, `threshold`, `weeks`, `window_rows` as in `KsPart`, of the Wasserstein distance.
    """

    kind: ClassVar[str] = "w1"
    names: tuple[str, ...]
    quantiles: Floats
    location: Floats
    scale: Floats
    centre: Floats
    spread: Floats
    threshold: float
    weeks: int
    window_rows: int

    @classmethod
    def build(cls, span: DriftTable, config: DriftConfig, monthly: float, rng: np.random.Generator) -> LevelPart:
        """Return the part of a span; columns are chosen as in `KsPart`."""
        span = _from_first_complete(span.select(judged_columns(span)))
        windows, rows = training_windows(span.known_at, config), sampled(len(span), config.reference_rows, rng)
        location, scale = np.nanmedian(span.values, axis=0), np.nanstd(span.values, axis=0, dtype=np.float64)
        location, scale = location.astype(np.float64), np.maximum(scale, 1e-12)
        values = _in_scale(span.values, location, scale)
        quantiles = _quantiles(values[rows])
        # The span is a mixture of the window and the rest: differences to the rest are those to the span, enlarged.
        rest = np.array([1 - (b - a) / len(span) for _, a, b in windows])
        apart = [np.abs(_quantiles(values[a:b]) - quantiles).mean(axis=0) for _, a, b in windows]
        distances = np.array(apart) / rest[:, None]
        return cls(
            names=span.names,
            quantiles=quantiles,
            location=location,
            scale=scale,
            centre=distances.mean(axis=0),
            spread=np.maximum(distances.std(axis=0, ddof=1), _LEAST_SPREAD),
            threshold=threshold_of(_standardised_maxima(distances, windows, config), windows, config, monthly, ROOT),
            weeks=weeks_of(windows, config),
            window_rows=usual_rows(windows),
        )

    def compare(self, window: DriftTable) -> tuple[Floats, Floats]:
        """Return each column's Wasserstein distance and the same in standard deviations: (columns,) each."""
        values = _in_scale(window.values, self.location, self.scale)
        distances = np.abs(_quantiles(values) - self.quantiles).mean(axis=0)
        return distances, (distances - self.centre) / self.spread

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is stored as arrays."""
        return {name: getattr(self, name) for name in ("quantiles", "location", "scale", "centre", "spread")}


@dataclass(frozen=True)
class MmdPart:
    """`values`: (rows, columns) of the span, standardised by `location` and `scale` (columns,).

    `sigma`: bandwidth of the kernel; `threshold`, `weeks`, `window_rows` as in `KsPart`.
    """

    kind: ClassVar[str] = "mmd"
    names: tuple[str, ...]
    values: Floats
    location: Floats
    scale: Floats
    sigma: float
    threshold: float
    weeks: int
    window_rows: int

    @classmethod
    def build(cls, span: DriftTable, config: DriftConfig, monthly: float, rng: np.random.Generator) -> MmdPart:
        """Return the part of a span of complete rows."""
        windows = training_windows(span.known_at, config)
        location = span.values.mean(axis=0, dtype=np.float64)
        scale = np.maximum(span.values.std(axis=0, dtype=np.float64), 1e-9)
        values = (span.values - location) / scale
        rows = sampled(len(values), config.mmd_rows, rng)
        kept = values[rows]
        sigma = median_bandwidth(kept)
        statistic = _window_mmd(values, rows, windows, sigma, config)
        return cls(
            names=span.names,
            values=kept,
            location=location,
            scale=scale,
            sigma=sigma,
            threshold=threshold_of(statistic, windows, config, monthly, ROOT),
            weeks=weeks_of(windows, config),
            window_rows=usual_rows(windows),
        )

    def compare(self, window: DriftTable, detector: DriftDetector, most: int) -> float:
        """Return the squared MMD of at most `most` evenly spaced rows of the window."""
        values = thinned((window.values - self.location) / self.scale, most)
        return detector.mmd2(self.values, values, self.sigma)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is stored as arrays."""
        return {"values": self.values, "location": self.location, "scale": self.scale}


Part = KsPart | LevelPart | MmdPart | VolatilityPart
KINDS: Mapping[str, type[Part]] = {part.kind: part for part in (KsPart, LevelPart, MmdPart, VolatilityPart)}


def facts_of(part: Part) -> dict[str, Any]:
    """Return what of a part is stored as JSON."""
    scalars = {"threshold": part.threshold, "weeks": part.weeks, "window_rows": part.window_rows}
    own = {"sigma": part.sigma} if isinstance(part, MmdPart) else {}
    own = part.scalars() if isinstance(part, VolatilityPart) else own
    return {"kind": part.kind, "names": list(part.names), **scalars, **own}


def part_from(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Part:
    """Rebuild a part from `facts_of` and its arrays."""
    values = {**facts, "names": tuple(facts["names"]), **arrays}
    return KINDS[values.pop("kind")](**values)


def judged_columns(span: DriftTable) -> tuple[str, ...]:
    """Return the columns that vary and are known in at least nine tenths of the rows."""
    known = np.isfinite(span.values)
    enough = known.mean(axis=0) >= 0.9 if len(span) else np.zeros(len(span.names), dtype=bool)
    varies = [bool(len(np.unique(span.values[known[:, i], i][:2000])) > 2) for i in range(len(span.names))]
    return tuple(name for i, name in enumerate(span.names) if enough[i] and varies[i])


def _from_first_complete(span: DriftTable) -> DriftTable:
    """Leave out the warm-up: missing values there are not those of a column that fails."""
    whole = np.flatnonzero(np.isfinite(span.values).all(axis=1))
    return span.rows(slice(int(whole[0]) if len(whole) else len(span), None))


def _in_scale(values: Singles, location: Floats, scale: Floats) -> Floats:
    """Return values in standard deviations, none beyond `_FAR`, where missing ones lie."""
    return np.asarray(np.clip(np.nan_to_num((values - location) / scale, nan=_FAR), -_FAR, _FAR))


def _quantiles(values: Floats) -> Floats:
    """Return evenly spaced quantiles of each column: (levels, columns)."""
    at = (np.arange(_LEVELS) + 0.5) / _LEVELS * len(values) - 0.5
    low = np.clip(np.floor(at).astype(np.int64), 0, len(values) - 1)
    high, share = np.minimum(low + 1, len(values) - 1), np.clip(at - low, 0, 1)[:, None]
    ordered = np.sort(values, axis=0)
    return np.asarray(ordered[low] * (1 - share) + ordered[high] * share)


def _with_missing(values: Singles) -> Singles:
    return np.where(np.isfinite(values), values, np.float32(np.inf))


def _window_ks(values: Singles, rows: NDArray[np.int64], windows: list[Window]) -> Floats:
    """Return KS of each window against the sampled rows outside it: (windows, columns)."""
    out = np.empty((len(windows), values.shape[1]))
    bounds = [(int(np.searchsorted(rows, a)), int(np.searchsorted(rows, b))) for _, a, b in windows]
    for column in range(values.shape[1]):
        own = np.ascontiguousarray(values[:, column])
        kept = own[rows]
        ordered = np.sort(kept)
        for i, (_, a, b) in enumerate(windows):
            inside = np.sort(kept[bounds[i][0] : bounds[i][1]])
            out[i, column] = ks_against_sorted(ordered, inside, np.sort(own[a:b]))
    return out


def _standardised_maxima(distances: Floats, windows: list[Window], config: DriftConfig) -> Floats:
    """Return each window's largest KS in standard deviations of the windows that do not overlap it: (windows,)."""
    ends = np.array([end for end, _, _ in windows])
    apart = (np.abs(ends[:, None] - ends[None, :]) >= config.window_days).astype(np.float64)  # (windows, windows)
    count = apart.sum(axis=1, keepdims=True)
    mean = apart @ distances / count
    variance = np.maximum(apart @ distances**2 / count - mean**2, 0) * count / (count - 1)
    return np.asarray(((distances - mean) / np.maximum(np.sqrt(variance), _LEAST_SPREAD)).max(axis=1))


def _window_mmd(
    values: Floats, rows: NDArray[np.int64], windows: list[Window], sigma: float, config: DriftConfig
) -> Floats:
    """Return the squared MMD of each window against the sampled rows outside it: (windows,)."""
    kept = values[rows]
    kernel = rbf(kept, kept, sigma)
    statistic = np.empty(len(windows))
    for i, (_, a, b) in enumerate(windows):
        outside = (rows < a) | (rows >= b)
        window = thinned(values[a:b], config.mmd_rows)
        across = rbf(kept[outside], window, sigma)
        statistic[i] = mmd2(kernel[np.ix_(outside, outside)], rbf(window, window, sigma), across)
    return statistic
