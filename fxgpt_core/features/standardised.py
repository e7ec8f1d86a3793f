"""`Targets`: labels in units of the yardstick, as models learn them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fxgpt_core.features.spec import YardstickConfig
from fxgpt_core.features.targets import Labels, make_labels
from fxgpt_core.features.yardstick import Yardstick
from fxgpt_core.market.candles import Candles

_COLUMNS = ("yardstick", "target", "label_end", "mask")
_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Targets:
    """Per base bar and horizon, (bars, horizons) each; the meaning of the fields is that of `Dataset`."""

    yardstick: NDArray[np.float64]
    target: NDArray[np.float64]
    label_end: NDArray[np.datetime64]
    mask: NDArray[np.bool_]

    def take(self, rows: slice) -> Targets:
        """Return the chosen bars."""
        return Targets(self.yardstick[rows], self.target[rows], self.label_end[rows], self.mask[rows])

    def known(self, known_at: NDArray[np.datetime64]) -> Targets:
        """Return the first bars, those that closed at `known_at`, as they were known at the last close of them."""
        first = self.take(slice(0, len(known_at)))
        known = first.label_end <= known_at[-1:]  # of no bars there is no last one
        return Targets(first.yardstick, np.where(known, first.target, np.nan), first.label_end, first.mask & known)

    def to_arrow(self, candles: Candles, horizons: tuple[int, ...]) -> pa.Table:
        """Return `ts_utc`, `known_at` and, per horizon, `yardstick_60`, `target_60`, `label_end_60`, `mask_60`."""
        columns = {"ts_utc": _stamps(candles.ts_utc), "known_at": _stamps(candles.known_at)}
        for index, horizon in enumerate(horizons):
            for name in _COLUMNS:
                values = np.ascontiguousarray(getattr(self, name)[:, index])
                columns[f"{name}_{horizon}"] = _stamps(values) if name == "label_end" else pa.array(values)
        return pa.table(columns)

    @classmethod
    def from_arrow(cls, table: pa.Table, horizons: tuple[int, ...]) -> Targets:
        """Rebuild targets from `to_arrow`."""
        values = [np.stack([table[f"{name}_{h}"].to_numpy() for h in horizons], axis=1) for name in _COLUMNS]
        return cls(values[0], values[1], values[2].astype("datetime64[ns]"), values[3].astype(bool))


def make_targets(candles: Candles, horizons: tuple[int, ...], config: YardstickConfig) -> Targets:
    """Return yardstick and standardised labels of base bars; a target counts where label and yardstick are known."""
    labels = make_labels(candles, horizons)
    return standardise(labels, Yardstick(config).forecast(candles, labels))


def standardise(labels: Labels, yardstick: NDArray[np.float64]) -> Targets:
    """Return labels in units of the yardstick (bars, horizons) of the same bars."""
    mask = labels.mask & np.isfinite(yardstick)
    target = np.full(mask.shape, np.nan)
    target[mask] = labels.log_return[mask] / yardstick[mask]
    return Targets(yardstick, target, labels.label_end, mask)


def _stamps(times: NDArray[np.datetime64]) -> pa.Array:
    return pa.array(times.astype("datetime64[us]"), pa.timestamp("us")).cast(_TIME)
