"""Row sampler: single items in an order drawn anew each epoch, for lessons whose items are windows or pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from fxgpt_core.common.errors import ModelError


class RowStream(IterableDataset[Tensor]):
    """Yields each of `rows` (rows,) int64 once an epoch, `batch` at a time, in an order drawn from (seed, epoch) alone.

    So a resumed run sees exactly what an uninterrupted one would have seen. Raises ModelError without rows.
    """

    def __init__(self, rows: Tensor, batch: int | None, seed: int, epoch: Callable[[], int] = int) -> None:
        super().__init__()
        if not len(rows):
            raise ModelError(
                "There is no row to train on: the training span is shorter than a window or has no labels."
            )
        self.rows, self.batch, self.seed, self.epoch = rows, batch, seed, epoch

    @property
    def items(self) -> int:
        """Items in an epoch."""
        return len(self.rows)

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return -(-self.items // (self.batch or self.items))

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch())
        drawn = self.rows[torch.randperm(self.items, generator=order)]
        yield from torch.split(drawn, self.batch or self.items)
