"""Segment sampler for dense training: long contiguous stretches of base bars instead of copied windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset


class SegmentStream(IterableDataset[Tensor]):
    """Yields batches of segment starts; the data themselves stay on the device.

    An epoch covers every bar of `supervised` (bars,) bool once, in segments of `length` bars whose phase and order are
    drawn from (seed, epoch) alone, so that a resumed run sees exactly what an uninterrupted one would have seen.
    Each item is (segments,) int64, at most `batch` starts, all valid: start + length <= bars.
    """

    def __init__(
        self, supervised: NDArray[np.bool_], length: int, batch: int, seed: int, epoch: Callable[[], int]
    ) -> None:
        super().__init__()
        marked = np.flatnonzero(supervised)
        self.first, self.last = int(marked[0]), int(marked[-1])
        self.length = min(length, len(supervised))
        self.bars, self.batch, self.seed, self.epoch = len(supervised), batch, seed, epoch

    @property
    def segments(self) -> int:
        """Segments in an epoch: enough to cover the supervised bars at any phase."""
        return -(-(self.last - self.first + 1) // self.length) + 1

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return -(-self.segments // self.batch)

    def __iter__(self) -> Iterator[Tensor]:
        rng = np.random.default_rng([self.seed, self.epoch()])
        phase = int(rng.integers(self.length))
        starts = self.first - phase + np.arange(self.segments) * self.length
        starts = rng.permutation(np.clip(starts, 0, self.bars - self.length))
        for at in range(0, len(starts), self.batch):
            yield torch.from_numpy(starts[at : at + self.batch].astype(np.int64))
