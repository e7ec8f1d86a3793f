"""`RunOptions`: how long and how a run trains, whatever machine it runs on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunOptions:
    """Epochs, early stopping, averaging, clipping, checkpoints and annealing.

    Stops after `patience` epochs whose metric was not lower than the best by `min_delta`; anneals every learning rate
    along a cosine to `lr_min`.
    """

    name: str
    epochs: int
    patience: int
    min_delta: float
    average_decay: float
    gradient_clip: float
    checkpoint_every: int
    lr_min: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
