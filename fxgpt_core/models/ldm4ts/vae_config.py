"""Configuration of the latents; light: no torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fxgpt_core.common.config import Config


class VaeConfig(Config):
    """The project's own small autoencoder and its training."""

    channels: int = Field(4, ge=1, le=16, description="Channels of the latents.")
    factor: Literal[4, 8] = Field(4, description="How many pixels a side of a latent stands for.")
    width: int = Field(64, ge=8, le=512, multiple_of=8, description="Channels inside encoder and decoder.")
    blocks: int = Field(1, ge=0, le=8, description="Residual blocks in encoder and decoder each.")
    kl_weight: float = Field(
        1e-4, ge=0, le=1, description="Weight of the divergence beside the squared error of a pixel."
    )
    epochs: int = Field(8, ge=1, le=1000, description="Upper limit of epochs.")
    patience: int = Field(3, ge=1, le=100, description="Epochs without a better validation error before stopping.")
    min_delta: float = Field(1e-4, ge=0, le=1, description="Smallest gain of the squared error of a pixel that counts.")
    batch: int = Field(32, ge=1, le=4096, description="Pictures per optimiser step.")
    lr: float = Field(2e-3, gt=0, le=0.1, description="Learning rate, annealed along a cosine.")
    lr_min: float = Field(1e-5, ge=0, le=0.1, description="Where the annealing ends.")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="AdamW weight decay.")
    average_decay: float = Field(0.99, ge=0, lt=1, description="Decay of the averaged weights.")
    rows: int = Field(4000, ge=16, le=10**7, description="Training windows it learns from, evenly spaced, at most.")
    validation_rows: int = Field(400, ge=8, le=10**6, description="Validation windows it is judged by, at most.")


class LatentsConfig(Config):
    """Where the autoencoder of the pictures comes from."""

    autoencoder: str | None = Field(
        None,
        description="Folder or hub id of a published AutoencoderKL, which is used as it is; null: the project's own, "
        "trained on the pictures of the training windows.",
    )
    subfolder: str | None = Field(None, description="Folder of the autoencoder inside of that, such as vae.")
    download: bool = Field(False, description="Fetch a hub id that is not in the local cache over the network.")
    vae: VaeConfig = Field(VaeConfig(), description="The project's own autoencoder.")
