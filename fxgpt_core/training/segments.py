"""Segment sampler for dense training: long contiguous stretches of base bars instead of copied windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from fxgpt_core.common.errors import ModelError


class SegmentStream(IterableDataset[Tensor]):
    """Yields batches of segment starts; the data themselves stay on the device.

    An epoch covers every bar of `supervised` (bars,) bool once, in segments of `length` bars whose phase and order are
    drawn from (seed, epoch) alone, so that a resumed run sees exactly what an uninterrupted one would have seen.
    Each item is (segments,) int64, at most `batch` starts, all valid: start + length <= bars.

    `restarts` (`Split.restarts`) are base bars at which training begins anew after a test span: no segment holds bars
    of both sides of one, and those after it begin `burn_in` base bars later, so that the state they warm up comes from
    behind the restart as well. Bars within that burn-in are not covered. Raises ModelError where the stretch between
    two restarts is shorter than a segment.
    """

    def __init__(
        self,
        supervised: NDArray[np.bool_],
        length: int,
        batch: int,
        seed: int,
        epoch: Callable[[], int] = int,
        restarts: Sequence[int] = (),
        burn_in: int = 0,
    ) -> None:
        super().__init__()
        self.length = min(length, len(supervised))
        self.batch: int | None = batch
        self.seed, self.epoch = seed, epoch
        self.rooms = _rooms(supervised, self.length, restarts, burn_in)

    @property
    def segments(self) -> int:
        """Segments in an epoch: enough to cover the supervised bars at any phase."""
        return sum(room.segments(self.length) for room in self.rooms)

    @property
    def items(self) -> int:
        """Items in an epoch, which are segments here."""
        return self.segments

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return -(-self.segments // (self.batch or self.segments))

    def __iter__(self) -> Iterator[Tensor]:
        rng = np.random.default_rng([self.seed, self.epoch()])
        phase = int(rng.integers(self.length))
        starts = rng.permutation(np.concatenate([room.starts(self.length, phase) for room in self.rooms]))
        size = self.batch or len(starts)
        for at in range(0, len(starts), size):
            yield torch.from_numpy(starts[at : at + size].astype(np.int64))


@dataclass(frozen=True)
class _Room:
    """Where segments may lie: supervised bars from `first` to `last`, starts from `low` to `high`, all inclusive."""

    first: int
    last: int
    low: int
    high: int

    def segments(self, length: int) -> int:
        """Return how many segments cover the supervised bars at any phase."""
        return -(-(self.last - self.first + 1) // length) + 1

    def starts(self, length: int, phase: int) -> NDArray[np.int64]:
        """Return the starts of segments laid end to end, the first one `phase` bars before the first bar."""
        laid = self.first - phase + np.arange(self.segments(length)) * length
        return np.asarray(np.clip(laid, self.low, self.high), dtype=np.int64)


def _rooms(supervised: NDArray[np.bool_], length: int, restarts: Sequence[int], burn_in: int) -> list[_Room]:
    """Return the rooms between restarts that have supervised bars; one room over everything where there is none."""
    bars, rooms = len(supervised), []
    for number, (begin, end) in enumerate(pairwise([0, *restarts, bars])):
        low = begin + burn_in if number else 0
        marked = low + np.flatnonzero(supervised[low:end])
        if not len(marked):
            continue
        if low + length > end:
            raise ModelError(
                f"A training segment of {length} bars does not fit between bar {low}, {burn_in} bars after training "
                f"restarts, and bar {end}, where it restarts or ends: shorten segments or burn-in, or use fewer groups."
            )
        first, last = int(marked[0]), int(marked[-1])
        # A segment before a test span ends with the last bar that trains, where there is room for it.
        stop = bars if end == bars else max(last + 1, low + length)
        rooms.append(_Room(first, last, low, stop - length))
    return rooms
