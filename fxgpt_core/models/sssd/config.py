"""Configuration of the SSSD family (SPEC section 4); light: no torch here."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fxgpt_core.common.config import Config
from fxgpt_core.features.augmentation import AugmentationConfig
from fxgpt_core.features.likeness import LikenessConfig
from fxgpt_core.features.scaler import ScalingConfig
from fxgpt_core.models import presets
from fxgpt_core.models.adjustment import AdjustmentConfig
from fxgpt_core.training.course_config import CourseConfig


class EncoderConfig(Config):
    """State-space stacks per timeframe, attention across them, context."""

    channels: int = Field(128, ge=4, le=1024, description="Width of each timeframe's stack.")
    state: int = Field(128, ge=2, le=512, multiple_of=2, description="Real state dimensions per channel.")
    layers: int = Field(4, ge=1, le=8, description="S4D blocks per timeframe.")
    initialisation: Literal["legs", "lin", "inv", "random", "real"] = Field("legs", description="Start of A.")
    discretisation: Literal["zoh", "bilinear"] = Field("zoh", description="Zero-order hold or Tustin.")
    dt_min: float = Field(1e-3, gt=0, le=1, description="Smallest starting step; memory is about 2 / dt own bars.")
    dt_max: float = Field(1e-1, gt=0, le=1, description="Largest starting step.")
    fusion: Literal["attention", "concat", "mlp", "conv1d"] = Field(
        "attention", description="How timeframes are joined; attention alone has weights to read."
    )
    heads: int = Field(4, ge=1, le=16, description="Attention heads across timeframes; divides channels and context.")
    context: int = Field(512, ge=8, le=1024, description="Width of the context vector.")
    residual: bool = Field(
        True,
        description="Keep a linear path from inputs to context beside stacks and fusion (attention and mlp): most of "
        "what columns say of volatility is linear, and a norm at the end of a stack forgets its size.",
    )
    dropout: float = Field(0.1, ge=0, le=0.6, description="Dropout in stacks, context and head.")
    chunk: int = Field(2048, ge=16, le=65536, description="Bars per FFT; state is passed between chunks.")

    @model_validator(mode="before")
    @classmethod
    def _causal(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("bidirectional"):
            raise ValueError("bidirectional is refused: an encoder that reads later bars looks ahead; leave it out")
        return values

    @model_validator(mode="after")
    def _consistent(self) -> EncoderConfig:
        for name in ("channels", "context") if self.fusion == "attention" else ():
            if getattr(self, name) % self.heads:
                raise ValueError(f"{name} {getattr(self, name)} is not a multiple of heads {self.heads}")
        if self.dt_min > self.dt_max:
            raise ValueError(f"dt_min {self.dt_min} is above dt_max {self.dt_max}")
        return self


class StudentConfig(Config):
    """One-step student of the sampler, for bulk forecasts."""

    updates: int = Field(1500, ge=10, le=100_000, description="Optimiser steps of the distillation.")
    rows: int = Field(64, ge=1, le=4096, description="Contexts per step.")
    draws: int = Field(16, ge=1, le=1024, description="Draws per context.")
    lr: float = Field(3e-3, gt=0, le=0.1, description="Learning rate.")
    contexts: int = Field(20_000, ge=1, le=10**6, description="Training bars whose contexts it learns on, at most.")
    tolerance: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Bulk forecasts are the student's where its quantiles lie within this many deviations of the full "
        "sampler's, on average over validation rows and levels at every horizon; else the full sampler's.",
    )


class FineTuningConfig(Config):
    """Fine-tuning of the sampler's output after training, on the score of its draws."""

    score: Literal["energy", "crps"] = Field(
        "energy", description="Energy score of all horizons together, or CRPS of each."
    )
    updates: int = Field(200, ge=1, le=100_000, description="Optimiser steps.")
    rows: int = Field(256, ge=1, le=4096, description="Training bars per step.")
    draws: int = Field(8, ge=2, le=256, description="Draws per bar.")
    sampling_steps: int = Field(8, ge=4, le=100, description="Steps of the sampler that gradients go through.")
    lr: float = Field(1e-4, gt=0, le=0.1, description="Learning rate.")
    contexts: int = Field(20_000, ge=1, le=10**6, description="Training bars whose contexts it learns on, at most.")


class DiffusionConfig(Config):
    """Schedule, head, loss and sampler."""

    schedule: Literal["cosine", "linear"] = Field("cosine", description="Noise schedule.")
    steps: int = Field(1000, ge=50, le=4000, description="Noise levels T in training.")
    offset: float = Field(0.008, ge=0.001, le=0.05, description="Offset s of the cosine schedule.")
    clip: float = Field(1e-12, gt=0, le=1e-3, description="Floor of the signal power of the cosine schedule.")
    zero_terminal: bool = Field(False, description="Rescale the schedule so that level T holds no signal at all.")
    prediction: Literal["velocity", "noise", "x0"] = Field("velocity", description="Which error the loss measures.")
    min_snr: float | None = Field(None, gt=0, le=1000, description="Gamma of min-SNR loss weights; null: none.")
    subsets: float = Field(0.2, ge=0, le=1, description="Share of training rows asked for a random subset of horizons.")
    consistency: float = Field(0.0, ge=0, le=100, description="Weight of the penalty on means that contradict.")
    head: Literal["mlp", "unet", "transformer"] = Field("mlp", description="Kind of head.")
    latent: int = Field(256, ge=8, le=512, description="Width of the head.")
    layers: int = Field(3, ge=1, le=5, description="Hidden blocks of the head.")
    attention: int = Field(4, ge=1, le=16, description="Attention heads of the transformer; divides latent.")
    embedding: int = Field(128, ge=2, le=512, description="Width of the learned horizon embeddings.")
    activation: Literal["relu", "gelu", "silu"] = Field("silu", description="Activation of the head.")
    sampler: Literal["ddim", "ddpm", "dpm++"] = Field("ddim", description="Sampler of forecasts.")
    sampling_steps: int = Field(20, ge=4, le=1000, description="Steps of the sampler.")
    eta: float = Field(0.0, ge=0, le=1, description="Fresh noise of DDIM: 0 deterministic, 1 as DDPM.")
    samples: int = Field(100, ge=10, le=2000, description="Draws per forecast.")
    noises: int = Field(4, ge=1, le=64, description="Noise levels drawn per target and training step.")
    student: StudentConfig | None = Field(None, description="Also distil a one-step student; null: none.")
    fine_tuning: FineTuningConfig | None = Field(
        None,
        description="After training, train the head on the score of its own draws; kept where validation rows agree.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> DiffusionConfig:
        if self.head == "transformer" and self.latent % self.attention:
            raise ValueError(f"latent {self.latent} is not a multiple of attention {self.attention}")
        if self.zero_terminal and self.prediction == "noise" and self.min_snr is None:
            raise ValueError("zero_terminal needs prediction velocity or x0: noise says nothing where no signal is")
        if self.student is not None and (self.sampler == "ddpm" or self.eta):
            raise ValueError("a student learns a deterministic sampler: sampler ddim with eta 0, or dpm++")
        if self.fine_tuning is not None and (self.sampler == "ddpm" or self.eta):
            raise ValueError("fine_tuning goes through a deterministic sampler: sampler ddim with eta 0, or dpm++")
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta {self.eta} belongs to sampler ddim, not to {self.sampler}")
        return self


class TrainingConfig(CourseConfig):
    """Optimiser, segments, early stopping."""

    lr: float = Field(1e-4, gt=0, le=0.1, description="Learning rate of encoder and scale.")
    head_lr: float = Field(1e-4, gt=0, le=0.1, description="Learning rate of the diffusion head.")
    dynamics_lr: float = Field(1e-4, gt=0, le=0.1, description="Learning rate of A and dt (never decayed).")
    segment: int = Field(1024, ge=16, le=65536, description="Supervised base bars per segment.")
    burn_in: int = Field(64, ge=0, le=65536, description="Own bars of each timeframe before a segment.")
    carry: bool = Field(
        True,
        description="Begin segments, burn-in included, from the state carried along the whole history since the last "
        "restart instead of from nothing; it is worked out anew before each epoch.",
    )
    carry_every: int = Field(256, ge=1, le=65536, description="Own bars between kept states; memory falls with them.")
    batch: int = Field(4, ge=1, le=256, description="Segments per step.")
    blind: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the diffusion's training targets, mirrored at random, that it sees without a context: "
        "the law of what the scale leaves, from which forecasts depart only on evidence.",
    )
    law_updates: int = Field(
        600,
        ge=0,
        le=100_000,
        description="Optimiser steps of the head alone after training, where all rows share one law; 0: none.",
    )
    scale_weight: float = Field(1.0, ge=0, le=100, description="Weight of the scale likelihood beside the diffusion.")
    validation_rows: int = Field(400, ge=20, le=100_000, description="Validation rows sampled after each epoch.")
    validation_samples: int = Field(32, ge=8, le=1000, description="Draws per row after each epoch.")
    validation_steps: int = Field(10, ge=4, le=1000, description="Sampler steps after each epoch.")


class InputsConfig(Config):
    """Which columns the stacks read. Hundreds of them drown the few that matter in a history of months."""

    base: tuple[str, ...] | None = Field(
        None,
        description="First words of the columns of base bars, `har` for har_…; null: all. Unknown words say nothing.",
    )
    slower: tuple[str, ...] | None = Field(None, description="The same for all slower timeframes.")
    surprises: bool = Field(
        True, description="Also read, of base bars, what they did by the yardstick's measure (`features.surprise`)."
    )

    def keeps(self, names: tuple[str, ...], base: bool) -> NDArray[np.bool_]:
        """Return which columns are read, (names,). A table without any column asked for is read whole."""
        words = self.base if base else self.slower
        own = np.array([name.startswith("surprise_") for name in names], dtype=bool)
        if words is None:
            return np.ones(len(names), dtype=bool)
        asked = np.array([name.startswith(tuple(f"{word}_" for word in words)) for name in names], dtype=bool)
        return asked | own if asked.any() else np.ones(len(names), dtype=bool)


class SSSDConfig(Config):
    """Everything of one SSSD model.

    A mapping may name a `preset` (a file `configs/sssd/<preset>.yaml`): its values come first, the others override it.
    """

    encoder: EncoderConfig = EncoderConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    training: TrainingConfig = TrainingConfig()
    adjustment: AdjustmentConfig = AdjustmentConfig()
    inputs: InputsConfig = InputsConfig()
    scaling: ScalingConfig = Field(ScalingConfig(), description="How columns are standardised and which are left out.")
    augmentation: AugmentationConfig = Field(AugmentationConfig(), description="Noise and delay of training inputs.")
    likeness: LikenessConfig = Field(LikenessConfig(), description="When training and validation rows are too alike.")
    rows_per_pass: int = Field(256, ge=1, le=100_000, description="Forecast rows sampled together.")
    bars_per_pass: int = Field(32_768, ge=64, description="Bars encoded together when going over a whole history.")

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        return presets.from_preset("sssd", values)


def read_preset(name: str) -> dict[str, Any]:
    """Return the values of `configs/sssd/<name>.yaml`; raises ConfigError naming the known presets."""
    return presets.read_preset("sssd", name)
