"""Windows of one series on the device and their pictures: gathered where they are asked for, never kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.hashing import bytes_hash, stable_hash
from fxgpt_core.market.candles import Candles
from fxgpt_core.models.ldm4ts.vision import encode
from fxgpt_core.models.ldm4ts.vision_config import VisionConfig

VARIABLES = ("open", "high", "low", "close", "volume")


def candle_series(candles: Candles) -> NDArray[np.float64]:
    """Return logarithms of prices and of one plus the tick count, (bars, 5).

    A count that is missing is the last known one, zero before the first: a venue without counts shows a grey band.
    """
    count = np.concatenate([[0.0], candles.volume])
    known = np.maximum.accumulate(np.where(np.isfinite(count), np.arange(len(count)), 0))
    prices = (candles.open, candles.high, candles.low, candles.close)
    return np.column_stack([*(np.log(price) for price in prices), np.log1p(count[known][1:])])


@dataclass(frozen=True)
class WindowImages:
    """Pictures of the windows of `length` bars that end with given bars of `series` (bars, variables) float64.

    A window that would begin before the first bar repeats that bar.
    """

    series: Tensor
    length: int
    config: VisionConfig

    def __post_init__(self) -> None:
        if self.series.ndim != 2 or self.series.dtype != torch.float64:
            raise BadInputError(
                f"A series has shape {tuple(self.series.shape)} and type {self.series.dtype}: expected float64 "
                "(bars, variables), since logarithms of prices differ late in their digits."
            )

    @classmethod
    def of(
        cls, candles: Candles, length: int, config: VisionConfig, device: torch.device | str = "cpu"
    ) -> WindowImages:
        """Return the windows of `length` candles, five variables each."""
        return cls(torch.from_numpy(candle_series(candles)).to(device), length, config)

    @property
    def device(self) -> torch.device:
        """Where series and pictures lie."""
        return self.series.device

    def windows(self, bars: Tensor) -> Tensor:
        """Return the windows that end with `bars` (rows,) int64: (rows, length, variables), oldest first."""
        back = torch.arange(1 - self.length, 1, device=self.series.device)
        return self.series[(bars.to(self.series.device)[:, None] + back).clamp(min=0)]

    def __call__(self, bars: Tensor) -> Tensor:
        """Return the pictures (rows, 3, size, size), -1..1, of the windows that end with `bars` (rows,) int64."""
        return encode(self.windows(bars), self.config)

    def to(self, device: torch.device | str) -> WindowImages:
        """Return the same with the series on `device`."""
        return replace(self, series=self.series.to(device))

    def fingerprint(self, bars: Tensor) -> str:
        """Return a hash of all that decides the pictures at `bars`: later bars and those no window holds do not."""
        first, last = max(int(bars.min()) + 1 - self.length, 0), int(bars.max())
        held = self.series[first : last + 1].cpu().contiguous().numpy()
        ends = (bars.cpu() - first).contiguous().numpy()
        parts = [bytes_hash(held.tobytes()), bytes_hash(ends.tobytes()), list(held.shape), int(bars.min()) - first]
        return stable_hash([self.config.model_dump(mode="json"), self.length, *parts])
