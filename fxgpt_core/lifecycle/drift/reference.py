"""`DriftReference`: the training span as drift is judged against it, with thresholds from its own windows.

Why not a p-value: rows of market data depend on each other, so a KS test that assumes independence fires in half of all
calm weeks. Here the training span's own windows, one a day, are compared with the rest of the span, and the alarm
threshold is a quantile of what they give.

Why standardised: slow columns (a 288-bar volatility) differ from the whole span in every single week, fast ones
(absolute returns) never. Each column's KS is therefore counted in standard deviations of its own training windows, and
the largest over columns is the statistic. (On real hourly EURUSD bars with the last week's volatility tripled the plain
largest KS stayed below its threshold in nine of thirteen cases, the standardised one never.) While the threshold is
set, a window is standardised without the windows that overlap it, as a new one will be.

Why extrapolated: 5 % a month is 1.2 % a week, beyond the largest of less than 85 weeks. A Gumbel distribution fitted to
the weekly maxima carries on from there; the threshold is never below the plain empirical quantile. With few weeks it is
uncertain: `weeks` is printed with every verdict.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.lifecycle.drift.columns import DriftTable
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.statistics import gumbel_quantile, ks_against_sorted, median_bandwidth, mmd2, rbf

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

_DAY = np.timedelta64(86_400_000_000_000, "ns")
_MONTH_DAYS = 30.44
_LEAST_SPREAD = 0.01  # of a KS distance; a column that hardly varies must not be divided by nearly nothing


@dataclass(frozen=True)
class PredictionReference:
    """Predictions of the training span: `values` (rows, columns) standardised by `location` and `scale` (columns,)."""

    names: tuple[str, ...]
    values: Floats
    location: Floats
    scale: Floats
    sigma: float
    threshold: float
    weeks: int


@dataclass(frozen=True)
class DriftReference:
    """What a window is compared with.

    `values`: (rows, columns) float32, sampled from the training span (`start`, `end`]; `centre`, `spread`: (columns,)
    mean and standard deviation of each column's KS over the span's own windows; `threshold`: of the largest
    standardised KS; `weeks`: windows that do not overlap behind it; `window_rows`: rows in a usual window.
    """

    symbol: str
    start: np.datetime64
    end: np.datetime64
    names: tuple[str, ...]
    values: NDArray[np.float32]
    centre: Floats
    spread: Floats
    threshold: float
    weeks: int
    window_rows: int
    predictions: PredictionReference | None = None

    def save(self, folder: Path) -> None:
        """Write `reference.safetensors` and `reference.json` into `folder`."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {"values": self.values, "centre": self.centre, "spread": self.spread}
        facts: dict[str, Any] = {
            "symbol": self.symbol, "start": str(self.start), "end": str(self.end), "names": list(self.names),
            "threshold": self.threshold, "weeks": self.weeks, "window_rows": self.window_rows, "predictions": None,
        }  # fmt: skip
        if (said := self.predictions) is not None:
            arrays |= {f"predictions.{name}": getattr(said, name) for name in ("values", "location", "scale")}
            scalars = {name: getattr(said, name) for name in ("sigma", "threshold", "weeks")}
            facts["predictions"] = {"names": list(said.names), **scalars}
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / "reference.safetensors")
        (folder / "reference.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> DriftReference:
        """Read what `save` wrote; raises DataError when there is nothing."""
        from safetensors.numpy import load_file

        if not (folder / "reference.json").is_file():
            raise DataError(f"No drift reference in {folder}: build it from the training span first.")
        facts: dict[str, Any] = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
        arrays: dict[str, Any] = load_file(folder / "reference.safetensors")
        said: dict[str, Any] | None = facts.pop("predictions")
        if said is not None:
            said["names"] = tuple(said["names"])
            said |= {name: arrays.pop(f"predictions.{name}") for name in ("values", "location", "scale")}
        facts["names"] = tuple(facts["names"])
        facts |= {name: np.datetime64(facts[name], "ns") for name in ("start", "end")}
        return cls(**facts, **arrays, predictions=None if said is None else PredictionReference(**said))


def build_reference(
    table: DriftTable,
    start: np.datetime64,
    end: np.datetime64,
    config: DriftConfig,
    seed: int,
    predictions: DriftTable | None = None,
) -> DriftReference:
    """Return the reference of the rows known in (start, end].

    Columns that are constant or missing in a tenth of the rows are left out. `predictions` are judged too where they
    cover `min_windows` windows of the span; features and predictions then share the false alarms.
    Raises DataError when the span holds fewer than `min_windows` windows.
    """
    rng = np.random.default_rng(seed)
    span = table.between(start, end)
    span = span.select(_judged(span))
    windows = _windows(span.known_at, config)
    weeks = _weeks(windows, config)
    if weeks < config.min_windows:
        raise DataError(
            f"The drift reference of {table.symbol} from {start} to {end} holds {weeks} windows of "
            f"{config.window_days} days, {config.min_windows} are needed: train on a longer span."
        )
    said = None if predictions is None else predictions.between(start, end)
    said_windows = [] if said is None else _windows(said.known_at, config)
    both = said is not None and _weeks(said_windows, config) >= config.min_windows
    rate = config.monthly_false_alarms / (2 if both else 1)
    rows = _sample(len(span), config.reference_rows, rng)
    distances = _window_ks(span, rows, windows)  # (windows, columns)
    return DriftReference(
        symbol=table.symbol,
        start=start,
        end=end,
        names=span.names,
        values=span.values[rows],
        centre=distances.mean(axis=0),
        spread=np.maximum(distances.std(axis=0, ddof=1), _LEAST_SPREAD),
        threshold=_threshold(_standardised_maxima(distances, windows, config), windows, config, rate),
        weeks=weeks,
        window_rows=int(np.median([last - first for _, first, last in windows])),
        predictions=_prediction_reference(said, said_windows, config, rate, rng) if both and said is not None else None,
    )


Window = tuple[int, int, int]
"""Days since the span's first row at the window's end; first and one past the last row."""


def _judged(span: DriftTable) -> tuple[str, ...]:
    known = np.isfinite(span.values)
    enough = known.mean(axis=0) >= 0.9 if len(span) else np.zeros(len(span.names), dtype=bool)
    varies = [bool(len(np.unique(span.values[known[:, i], i][:2000])) > 2) for i in range(len(span.names))]
    return tuple(name for i, name in enumerate(span.names) if enough[i] and varies[i])


def _windows(known_at: Times, config: DriftConfig) -> list[Window]:
    """Return the windows that end on each day of the span and hold at least half of the usual rows."""
    if not len(known_at):
        return []
    days = int((known_at[-1] - known_at[0]) / _DAY)
    ends = np.arange(config.window_days, days + 1)
    stamps = known_at[0] + ends * _DAY
    last = np.searchsorted(known_at, stamps, side="right")
    first = np.searchsorted(known_at, stamps - config.window_days * _DAY, side="right")
    usual = np.median(last - first) if len(ends) else 0
    return [(int(d), int(a), int(b)) for d, a, b in zip(ends, first, last, strict=True) if b - a >= max(usual / 2, 10)]


def _weeks(windows: list[Window], config: DriftConfig) -> int:
    """Return how many blocks of `window_days` window ends there are."""
    return len({(end - config.window_days) // config.window_days for end, _, _ in windows})


def _sample(rows: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if rows <= most:
        return np.arange(rows)
    return np.asarray(np.sort(rng.choice(rows, most, replace=False)))


def _window_ks(span: DriftTable, rows: NDArray[np.int64], windows: list[Window]) -> Floats:
    """Return KS of each window against the sampled rows outside it: (windows, columns)."""
    out = np.empty((len(windows), len(span.names)))
    bounds = [(int(np.searchsorted(rows, a)), int(np.searchsorted(rows, b))) for _, a, b in windows]
    for column in range(len(span.names)):
        values = span.values[:, column]
        sampled = values[rows]
        ordered = np.sort(sampled)
        for i, (_, a, b) in enumerate(windows):
            inside = np.sort(sampled[bounds[i][0] : bounds[i][1]])
            out[i, column] = ks_against_sorted(ordered, inside, np.sort(values[a:b]))
    return out


def _standardised_maxima(distances: Floats, windows: list[Window], config: DriftConfig) -> Floats:
    """Return each window's largest KS in standard deviations of the windows that do not overlap it: (windows,)."""
    ends = np.array([end for end, _, _ in windows])
    apart = (np.abs(ends[:, None] - ends[None, :]) >= config.window_days).astype(np.float64)  # (windows, windows)
    count = apart.sum(axis=1, keepdims=True)
    mean = apart @ distances / count
    variance = np.maximum(apart @ distances**2 / count - mean**2, 0) * count / (count - 1)
    return np.asarray(((distances - mean) / np.maximum(np.sqrt(variance), _LEAST_SPREAD)).max(axis=1))


def _threshold(statistic: Floats, windows: list[Window], config: DriftConfig, monthly: float) -> float:
    """Return the level that a month of daily windows exceeds with probability `monthly`, from block maxima."""
    block = np.array([(end - config.window_days) // config.window_days for end, _, _ in windows])
    maxima = np.array([statistic[block == b].max() for b in np.unique(block)])
    probability = (1 - monthly) ** (config.window_days / _MONTH_DAYS)
    return max(gumbel_quantile(maxima, probability), float(np.quantile(maxima, probability)))


def _prediction_reference(
    said: DriftTable, windows: list[Window], config: DriftConfig, rate: float, rng: np.random.Generator
) -> PredictionReference:
    location = said.values.mean(axis=0, dtype=np.float64)
    scale = np.maximum(said.values.std(axis=0, dtype=np.float64), 1e-9)
    values = (said.values - location) / scale
    rows = _sample(len(values), config.mmd_rows, rng)
    kept = values[rows]
    sigma = median_bandwidth(kept)
    kernel = rbf(kept, kept, sigma)
    statistic = np.empty(len(windows))
    for i, (_, a, b) in enumerate(windows):
        outside = (rows < a) | (rows >= b)
        window = thinned(values[a:b], config.mmd_rows)
        across = rbf(kept[outside], window, sigma)
        statistic[i] = mmd2(kernel[np.ix_(outside, outside)], rbf(window, window, sigma), across)
    threshold = _threshold(statistic, windows, config, rate)
    return PredictionReference(said.names, kept, location, scale, sigma, threshold, _weeks(windows, config))


def thinned(values: Floats, most: int) -> Floats:
    """Return at most `most` evenly spaced rows."""
    if len(values) <= most:
        return values
    return np.asarray(values[np.linspace(0, len(values) - 1, most).astype(np.int64)])
