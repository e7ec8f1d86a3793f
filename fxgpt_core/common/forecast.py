"""`Forecast`: the one language between models and everything downstream (DESIGN, "One language between the parts")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError

LEVELS: tuple[float, ...] = (
    0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5,
    0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99,
)  # fmt: skip
"""Quantile levels that every forecast carries; symmetric, so central intervals of 50/60/70/80/90/95/98 % are exact."""

ORIGINS = ("fold", "backfill", "live", "combinatorial", "in_sample")

_KNOWS_LATER = ("combinatorial", "in_sample")

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Forecast:
    """Probabilistic forecasts of log returns for one symbol by one family.

    Shapes: `decided_at`, `made_at`, `trained_until`: (rows,) datetime64[ns], UTC; `model_version`,
    `calibration_version`, `origin`: (rows,) str; `mean`, `std`: (rows, horizons); `quantiles`:
    (rows, horizons, levels); `samples`: (rows, draws, horizons) or None. Units: log return over the horizon.
    `horizons` are minutes of trading time. `decided_at` is the close of the last bar used; `made_at` is when it was
    computed; `trained_until` is the end of the last label that the model saw, always <= `decided_at`, except for
    origins `combinatorial`: cross-validation also learns from what came after, and says nothing about trading it; and
    `in_sample`: training rows, forecast again to see how much better the model is on them, and never kept.
    `calibration_version` is "" for a raw forecast.

    Raises DataError when built if shapes, order, finiteness, quantile monotony or times contradict each other.
    """

    symbol: str
    family: str
    horizons: tuple[int, ...]
    decided_at: Times
    made_at: Times
    trained_until: Times
    model_version: NDArray[Any]
    calibration_version: NDArray[Any]
    origin: NDArray[Any]
    mean: Floats
    std: Floats
    quantiles: Floats
    samples: NDArray[np.float32] | None = None
    levels: tuple[float, ...] = field(default=LEVELS)

    def __post_init__(self) -> None:
        rows, columns = len(self.decided_at), len(self.horizons)
        for name in ("made_at", "trained_until", "model_version", "calibration_version", "origin"):
            if getattr(self, name).shape != (rows,):
                self._fail(f"{name} has shape {getattr(self, name).shape}, expected ({rows},)")
        if self.mean.shape != (rows, columns) or self.std.shape != (rows, columns):
            self._fail(f"mean {self.mean.shape} and std {self.std.shape} must be ({rows}, {columns})")
        if self.quantiles.shape != (rows, columns, len(self.levels)):
            self._fail(f"quantiles {self.quantiles.shape} must be ({rows}, {columns}, {len(self.levels)})")
        if self.samples is not None and (
            self.samples.ndim != 3 or self.samples.shape[0] != rows or self.samples.shape[2] != columns
        ):
            self._fail(f"samples {self.samples.shape} must be ({rows}, draws, {columns})")
        if rows and not (np.diff(self.decided_at) > np.timedelta64(0, "ns")).all():
            self._fail("decided_at must increase strictly")
        for name in ("mean", "std", "quantiles"):
            if not np.isfinite(getattr(self, name)).all():
                self._fail(f"{name} has missing or infinite values")
        if (self.std < 0).any():
            self._fail("std is negative")
        if (np.diff(self.quantiles, axis=-1) < -1e-12).any():
            self._fail("quantiles cross")
        if ((self.trained_until > self.decided_at) & ~np.isin(self.origin, _KNOWS_LATER)).any():
            self._fail("trained_until lies after decided_at: the model saw the future")
        unknown = set(np.unique(self.origin)) - set(ORIGINS)
        if unknown:
            self._fail(f"origin {sorted(unknown)} is none of {ORIGINS}")

    def _fail(self, what: str) -> None:
        raise DataError(f"Forecast of {self.family} for {self.symbol}: {what}.")

    def __len__(self) -> int:
        return len(self.decided_at)

    def column(self, horizon: int) -> int:
        """Return the column of `horizon` (minutes); raises DataError when it is not forecast."""
        if horizon not in self.horizons:
            raise DataError(f"Forecast of {self.family} has horizons {self.horizons}, not {horizon} minutes.")
        return self.horizons.index(horizon)

    def quantile(self, level: float) -> Floats:
        """Return the quantiles at `level`, linear between stored levels: (rows, horizons)."""
        if not self.levels[0] <= level <= self.levels[-1]:
            raise DataError(f"Level {level} is outside the stored levels {self.levels[0]}..{self.levels[-1]}.")
        grid = np.asarray(self.levels)
        right = int(np.clip(np.searchsorted(grid, level), 1, len(grid) - 1))
        weight = (level - grid[right - 1]) / (grid[right] - grid[right - 1])
        return np.asarray(self.quantiles[..., right - 1] * (1 - weight) + self.quantiles[..., right] * weight)

    def probability_up(self) -> Floats:
        """Return P(log return > 0) read off the quantile function, within its outer levels: (rows, horizons)."""
        grid = np.asarray(self.levels)
        above = self.quantiles > 0  # (rows, horizons, levels)
        first = np.where(above.any(-1), above.argmax(-1), len(grid))
        right = np.clip(first, 1, len(grid) - 1)
        low, high = (np.take_along_axis(self.quantiles, at[..., None], -1)[..., 0] for at in (right - 1, right))
        share = np.where(high <= low, 0.0, (0.0 - low) / np.where(high <= low, 1.0, high - low))
        inside = 1 - (grid[right - 1] + share * (grid[right] - grid[right - 1]))
        return np.where(first == 0, 1 - grid[0], np.where(first == len(grid), 1 - grid[-1], inside))

    def uncertainty(self) -> Floats:
        """Return std / (std + |mean|), SPEC 5: 1 where a forecast has no opinion on direction, (rows, horizons)."""
        total = self.std + np.abs(self.mean)
        return np.asarray(np.divide(self.std, total, out=np.ones_like(total), where=total > 0))

    def take(self, rows: NDArray[Any] | slice) -> Forecast:
        """Return the forecast of the chosen rows (boolean mask, indices or slice)."""
        per_row = ("decided_at", "made_at", "trained_until", "model_version", "calibration_version", "origin")
        values = {name: getattr(self, name)[rows] for name in (*per_row, "mean", "std", "quantiles")}
        return replace(self, **values, samples=None if self.samples is None else self.samples[rows])

    def to_frame(self) -> pd.DataFrame:
        """Return one row per (decision, horizon) with a column per level (`q0.05`); samples are left out."""
        rows, columns = self.mean.shape
        frame = pd.DataFrame(
            {
                "symbol": self.symbol,
                "family": self.family,
                "horizon": np.tile(np.asarray(self.horizons, dtype=np.int32), rows),
                **{
                    name: pd.DatetimeIndex(np.repeat(getattr(self, name), columns)).tz_localize("UTC")
                    for name in ("decided_at", "made_at", "trained_until")
                },
                **{
                    name: np.repeat(getattr(self, name).astype(str).astype(object), columns)
                    for name in ("model_version", "calibration_version", "origin")
                },
                "mean": self.mean.ravel(),
                "std": self.std.ravel(),
            }
        )
        flat = self.quantiles.reshape(rows * columns, -1)
        levels = pd.DataFrame({f"q{level:g}": flat[:, i] for i, level in enumerate(self.levels)})
        return pd.concat([frame, levels], axis=1)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Forecast:
        """Rebuild a forecast from `to_frame`; raises DataError when rows of some horizon are missing."""
        if frame.empty:
            raise DataError("A forecast table without rows cannot be read back: its horizons are unknown.")
        frame = frame.sort_values(["decided_at", "horizon"], kind="stable")
        horizons = tuple(int(h) for h in np.sort(frame["horizon"].unique()))
        levels = tuple(float(name[1:]) for name in frame.columns if name.startswith("q") and name[1:2].isdigit())
        if len(frame) % len(horizons) or (frame["horizon"].to_numpy().reshape(-1, len(horizons)) != horizons).any():
            raise DataError(f"Forecast table has {len(frame)} rows, not every decision has all horizons {horizons}.")
        rows = len(frame) // len(horizons)
        first = frame.iloc[:: len(horizons)]

        def times(name: str) -> Times:
            return np.asarray(first[name].dt.tz_convert("UTC").dt.tz_localize(None), dtype="datetime64[ns]")

        return cls(
            symbol=str(first["symbol"].iloc[0]),
            family=str(first["family"].iloc[0]),
            horizons=horizons,
            levels=levels,
            decided_at=times("decided_at"),
            made_at=times("made_at"),
            trained_until=times("trained_until"),
            model_version=first["model_version"].to_numpy(dtype=object),
            calibration_version=first["calibration_version"].to_numpy(dtype=object),
            origin=first["origin"].to_numpy(dtype=object),
            mean=frame["mean"].to_numpy(dtype=np.float64).reshape(rows, -1),
            std=frame["std"].to_numpy(dtype=np.float64).reshape(rows, -1),
            quantiles=frame[[f"q{level:g}" for level in levels]]
            .to_numpy(dtype=np.float64)
            .reshape(rows, len(horizons), -1),
        )


def concat(parts: Sequence[Forecast]) -> Forecast:
    """Join forecasts of one symbol and family in time order; samples are kept only where every part has them."""
    if not parts:
        raise DataError("No forecasts to join.")
    head = parts[0]
    for part in parts[1:]:
        if (part.symbol, part.family, part.horizons, part.levels) != (
            head.symbol,
            head.family,
            head.horizons,
            head.levels,
        ):
            raise DataError(
                f"Cannot join forecasts of {head.symbol}/{head.family}{head.horizons} "
                f"and {part.symbol}/{part.family}{part.horizons}: they must agree."
            )
    names = (
        "decided_at", "made_at", "trained_until", "model_version", "calibration_version", "origin",
        "mean", "std", "quantiles",
    )  # fmt: skip
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    keep = [part.samples for part in parts if part.samples is not None]
    same_draws = len(keep) == len(parts) and len({s.shape[1] for s in keep}) == 1
    return replace(head, **joined, samples=np.concatenate(keep) if same_draws else None)


def from_standardised(
    *,
    symbol: str,
    family: str,
    horizons: tuple[int, ...],
    decided_at: Times,
    made_at: np.datetime64,
    trained_until: np.datetime64,
    model_version: str,
    yardstick: Floats,
    mean: Floats,
    std: Floats,
    quantiles: Floats,
    samples: NDArray[np.float32] | None = None,
    origin: str = "fold",
) -> Forecast:
    """Build a forecast from standardised output by multiplying with the yardstick.

    Shapes as in `Forecast`; `yardstick`: (rows, horizons), log-return units. Quantiles are sorted, which is the
    rearrangement of Chernozhukov et al. (2010) and never worsens pinball loss.
    """
    rows = len(decided_at)
    scale = np.asarray(yardstick, dtype=np.float64)
    return Forecast(
        symbol=symbol,
        family=family,
        horizons=tuple(horizons),
        decided_at=decided_at.astype("datetime64[ns]"),
        made_at=np.full(rows, made_at, dtype="datetime64[ns]"),
        trained_until=np.full(rows, trained_until, dtype="datetime64[ns]"),
        model_version=np.full(rows, model_version, dtype=object),
        calibration_version=np.full(rows, "", dtype=object),
        origin=np.full(rows, origin, dtype=object),
        mean=mean * scale,
        std=std * scale,
        quantiles=np.sort(quantiles, axis=-1) * scale[..., None],
        samples=None if samples is None else (samples * scale[:, None, :]).astype(np.float32),
    )
