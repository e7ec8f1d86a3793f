"""`CourseConfig`: what the training of every family that learns by gradients is steered by; light, no torch here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fxgpt_core.common.config import Config
from fxgpt_core.training.wishes import Wishes

Epochs = Annotated[int, Field(ge=1, le=2000, description="Upper limit of epochs.")]
Patience = Annotated[int, Field(ge=1, le=500, description="Epochs without a better validation score before stopping.")]
Rate = Annotated[float, Field(gt=0, le=0.1, description="Learning rate.")]
Average = Annotated[float, Field(ge=0, lt=1, description="Decay of the averaged weights.")]


class CourseConfig(Config):
    """Epochs, stopping, annealing, decay, averaging, checkpoints; a family adds its own and sets its own defaults."""

    epochs: Epochs = 100
    patience: Patience = 15
    min_delta: float = Field(1e-4, ge=0, le=0.1, description="Smallest gain of the validation score that counts.")
    lr_min: float = Field(1e-6, ge=0, le=0.1, description="End of the cosine annealing.")
    weight_decay: float = Field(0.01, ge=0, le=10, description="AdamW weight decay of matrices.")
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW betas.")
    gradient_clip: float = Field(1.0, gt=0, le=100, description="Largest gradient norm.")
    average_decay: Average = 0.999
    horizon_weights: tuple[float, ...] | None = Field(None, description="Loss weights; default n, n-1, ..., 1.")
    checkpoint_every: int = Field(10, ge=1, le=1000, description="Epochs between kept checkpoints.")
    hardware: Wishes = Field(Wishes(), description="What to ask of the hardware plan; everything may be left to it.")
