"""The picture that diffuses: the path of the price after the decision, by the yardstick's measure.

A picture of the past is known; to draw it again from noise tells nothing. So what diffuses is the latent of the picture
of what comes, and a sample of it is one coherent future: all horizons are read off the same picture.

The path is taken at times evenly spaced in logarithm, from one bar to the longest horizon, and each point is divided by
the yardstick's volatility up to its own time. In that clock a random walk is stationary with variance one (Lamperti
1962), so the first bars are as visible as the last, and a quiet and a wild market make pictures of the same kind: what
differs is what the yardstick did not foresee. Unlike a window of the past the path keeps its size, because it is
squashed by one curve for all rows, not stretched to its own extremes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fxgpt_core.common.hashing import bytes_hash, stable_hash
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.ldm4ts.vision import draw
from fxgpt_core.models.ldm4ts.vision_config import VisionConfig
from fxgpt_core.models.ldm4ts.windows import WindowImages

Floats = NDArray[np.float64]

_FOLDS = 4  # of the segmentation of a path: a path has no period of its own


def future_paths(dataset: Dataset, rows: NDArray[np.int64], points: int) -> NDArray[np.float32]:
    """Return the standardised paths (rows, points) after base bars `rows`, up to the end of the longest label.

    NaN throughout where that label or the yardstick is not known; where no bar closes with the label a path ends, as
    the label does, with the last bar before. At the time of a horizon a path is that horizon's standardised target, but
    for what gaps in trading move.
    """
    longest = int(np.argmax(dataset.horizons))
    known = np.isfinite(dataset.targets[rows, longest]) & np.isfinite(dataset.yardstick[rows]).all(axis=1)
    out = np.full((len(rows), points), np.nan, dtype=np.float32)
    at = rows[known]
    if not len(at):
        return out
    spans = np.array(sorted(dataset.horizons), dtype=np.float64)
    shares = np.geomspace(min(dataset.base.minutes, spans[0]) / spans[-1], 1.0, points)
    ends = np.searchsorted(dataset.known_at, dataset.label_end[at, longest], side="right") - 1
    where = at[:, None] + shares * (ends - at)[:, None]
    logs = np.log(dataset.candles.close)
    low = np.minimum(where.astype(np.int64), len(logs) - 1)
    close = logs[low] + (where - low) * (logs[np.minimum(low + 1, len(logs) - 1)] - logs[low])
    order = np.argsort(dataset.horizons)
    expected = _log_volatility(np.log(dataset.yardstick[at][:, order]), spans, shares)
    out[known] = (close - logs[at][:, None]) * np.exp(-expected)
    return out


def _log_volatility(
    logs: NDArray[np.float64], spans: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the log yardstick (rows, points) at shares of the longest span, from `logs` (rows, horizons) at `spans`.

    Linear in the logarithm of time; before the shortest horizon by the square root of time.
    """
    first = min(float(shares[0] * spans[-1]), float(spans[0]))
    nodes = np.log(np.concatenate([[first], spans]))
    values = np.column_stack([logs[:, 0] + 0.5 * (nodes[0] - nodes[1]), logs])
    unit = np.array([np.interp(np.log(shares * spans[-1]), nodes, row) for row in np.eye(len(nodes))])
    return np.asarray(values @ unit)


def draw_paths(paths: Tensor, config: VisionConfig) -> Tensor:
    """Return the pictures (rows, 3, size, size), -1..1, of standardised paths (rows, points)."""
    period = torch.full((len(paths),), max(paths.shape[1] // _FOLDS, 1), device=paths.device)
    return draw(torch.sigmoid(paths)[:, :, None], config, period)


@dataclass(frozen=True)
class PicturesOfPaths:
    """Pictures of standardised `paths` (rows, points)."""

    paths: Tensor
    config: VisionConfig

    @property
    def device(self) -> torch.device:
        """Where paths and pictures lie."""
        return self.paths.device

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the pictures (rows, 3, size, size), -1..1, of the paths at `rows` (rows,) int64."""
        return draw_paths(self.paths[rows.to(self.device)], self.config)

    def fingerprint(self, rows: Tensor) -> str:
        """Return a hash of all that decides them."""
        held = self.paths[rows.to(self.device)].cpu().contiguous().numpy()
        return stable_hash([self.config.model_dump(mode="json"), list(held.shape), bytes_hash(held.tobytes())])


@dataclass(frozen=True)
class PicturesOfBoth(WindowImages):
    """Pictures of windows and of what came after them: bar i ends a window, n + i is the path after bar i of n.

    `paths` (n, points) holds what the autoencoder may learn from, zero elsewhere.
    """

    paths: Tensor

    def __call__(self, bars: Tensor) -> Tensor:
        """Return the pictures (rows, 3, size, size) of `bars` (rows,) int64."""
        count = len(self.series)
        bars = bars.to(self.series.device)
        windows, after = super().__call__(bars % count), draw_paths(self.paths[bars % count], self.config)
        return torch.where((bars >= count)[:, None, None, None], after, windows)

    def to(self, device: torch.device | str) -> PicturesOfBoth:
        """Return the same on `device`."""
        return PicturesOfBoth(self.series.to(device), self.length, self.config, self.paths.to(device))

    def fingerprint(self, bars: Tensor) -> str:
        """See `WindowImages.fingerprint`."""
        count = len(self.series)
        after = bars[bars >= count].cpu() - count
        held = self.paths.cpu()[after].contiguous().numpy()
        return stable_hash([super().fingerprint(bars % count), bytes_hash(held.tobytes()), len(after)])
