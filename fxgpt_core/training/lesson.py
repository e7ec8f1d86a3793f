"""`Lesson`: all that a model family implements to be trained; no Lightning, no optimiser, no loop.

A family hands `run_training` a `Lesson` (what to learn) and a `Stream` (which items, in which order) and gets the best
averaged weights back. Precision, passes, devices, optimiser, schedule, averaging, early stopping, checkpoints, resume
and reports are the trainer's business.

An item is whatever a batch is counted in, named by one integer: a segment by its first bar, a window by its row. The
data themselves lie on the device, in the lesson; only indices travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Lesson(Protocol):
    """What is learned. To be trained on several devices it must be picklable (no lambdas, no open files).

    `network` holds every parameter that is trained; `metric` names the value of `validate` that decides about
    stopping and about the best weights, lower is better.
    """

    @property
    def network(self) -> nn.Module: ...

    @property
    def metric(self) -> str: ...

    def loss(self, items: Tensor, keys: Tensor) -> Tensor:
        """Return the mean loss, a scalar, over all labels of `items` (items,) int64.

        Whatever is random for item i comes from a generator seeded with `keys[i]` (items,) int64 on the CPU: then the
        result does not depend on how a batch was cut. Dropout may use the global generator, which is seeded per pass.
        """
        ...

    def renew(self) -> bool:
        """Bring up to date what is kept of the weights for a whole epoch; called before its first step.

        Returns False where nothing is, which is usual. Equal weights must give equal results: a run that is continued
        within an epoch calls it with the weights that the epoch began with.
        """
        ...

    def weights(self, items: Tensor) -> Tensor:
        """Return how much weight the labels of each item carry in `loss`, (items,); ones where all carry the same."""
        ...

    def groups(self) -> list[dict[str, Any]]:
        """Return AdamW's parameter groups, each with `params`, `lr` and `weight_decay`; `ssm.groups` helps."""
        ...

    def blocks(self) -> Sequence[nn.Module]:
        """Return modules whose activations may be recomputed (gradient checkpointing); may be empty."""
        ...

    def validate(self, parts: int) -> Mapping[str, float]:
        """Return the epoch's metrics on validation labels, working in at least `parts` pieces to save memory.

        The network holds the averaged weights in inference mode. Equal weights must give equal values.
        """
        ...

    def to(self, device: torch.device | str) -> None:
        """Move the data to `device`; the network is moved by the trainer."""
        ...


class Stream(Protocol):
    """Batches of item indices: every epoch has `batches` of them, drawn from the seed and `epoch()` alone.

    `items` counts the indices of an epoch, `batch` those of an optimiser step over all devices; None lets the planner
    choose, and the trainer sets it. The trainer also sets `epoch`. Batches are (items,) int64 on the CPU.
    """

    epoch: Callable[[], int]
    batch: int | None

    @property
    def items(self) -> int: ...

    @property
    def batches(self) -> int: ...

    def __iter__(self) -> Iterator[Tensor]: ...
