"""`RunOptions`: how long and how a run trains, whatever machine it runs on."""

from __future__ import annotations

from dataclasses import dataclass

from fxgpt_core.training.course_config import CourseConfig


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

    @classmethod
    def of(cls, name: str, config: CourseConfig) -> RunOptions:
        """Return what a configuration asks for."""
        return cls(
            name,
            config.epochs,
            config.patience,
            config.min_delta,
            config.average_decay,
            config.gradient_clip,
            config.checkpoint_every,
            config.lr_min,
            config.betas,
        )
