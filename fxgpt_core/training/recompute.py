"""Gradient checkpointing of chosen modules, switched on and off without touching their parameters or names."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute(modules: Iterable[nn.Module]) -> None:
    """Let each module keep its inputs only and run its forward pass again when gradients are needed.

    Random state is replayed, so dropout repeats and gradients are equal. Doing it twice changes nothing.
    """
    for module in modules:
        if "forward" not in vars(module):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False)  # type: ignore[method-assign]


def keep(modules: Iterable[nn.Module]) -> None:
    """Undo `recompute`."""
    for module in modules:
        vars(module).pop("forward", None)
