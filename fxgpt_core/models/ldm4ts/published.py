"""`PublishedAutoencoder`: a Stable-Diffusion-type `AutoencoderKL`, read by diffusers and used as it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fxgpt_core.common.errors import ModelError
from fxgpt_core.models.ldm4ts.vae import check_size, weights_hash
from fxgpt_core.models.ldm4ts.vision import COLOURS


class PublishedAutoencoder(nn.Module):
    """An `AutoencoderKL` behind `Latents`, frozen; scaling and shift factors are those of its own configuration.

    `source` is the folder or hub id that it came from.
    """

    def __init__(self, source: str, subfolder: str | None = None, download: bool = False) -> None:
        """Read a folder written by diffusers, or a hub id from the local cache (with `download` also the network).

        Only safetensors are read. Raises ModelError where nothing is found or it is no autoencoder of colour pictures.
        """
        super().__init__()
        self.source, self.subfolder = source, subfolder
        self.autoencoder: Any = _read(source, subfolder, download)
        config = self.autoencoder.config
        if config.in_channels != COLOURS or config.out_channels != COLOURS:
            raise ModelError(
                f"The autoencoder {source} has pictures of {config.in_channels} and {config.out_channels} channels: "
                f"expected {COLOURS}; choose one for colour pictures."
            )
        if config.get("latents_mean") is not None or config.get("latents_std") is not None:
            raise ModelError(
                f"The autoencoder {source} scales its latents channel by channel (latents_mean, latents_std), which is "
                "not supported: choose one with scaling_factor alone."
            )
        self.channels = int(config.latent_channels)
        self.factor = 2 ** (len(config.block_out_channels) - 1)
        self.scaling = float(config.scaling_factor)
        self.offset = float(config.get("shift_factor") or 0.0)
        self.requires_grad_(False).eval()
        self._hash: str | None = None

    @property
    def identity(self) -> str:
        """A hash of weights and scaling."""
        if self._hash is None:  # hundreds of megabytes: once
            self._hash = f"{weights_hash(self.autoencoder)}-{self.scaling!r}-{self.offset!r}"
        return self._hash

    def encode(self, images: Tensor) -> Tensor:
        """Return the posterior's means, scaled: (rows, channels, size / factor, size / factor)."""
        check_size(images, self.factor)
        mean: Tensor = self.autoencoder.encode(images).latent_dist.mean
        return (mean - self.offset) * self.scaling

    def decode(self, latents: Tensor) -> Tensor:
        """Return the pictures (rows, 3, size, size) of scaled latents; gradients pass to the latents."""
        made: Tensor = self.autoencoder.decode(latents / self.scaling + self.offset).sample
        return made

    def train(self, mode: bool = True) -> PublishedAutoencoder:
        """Stay in inference mode: it is frozen, whatever becomes of what holds it."""
        del mode
        super().train(False)
        return self


def _read(source: str, subfolder: str | None, download: bool) -> Any:
    from diffusers import AutoencoderKL

    folder = Path(source).expanduser()
    if not folder.is_dir() and _is_path(source):
        raise ModelError(
            f"There is no folder {folder} to read an autoencoder from: set latents.autoencoder to one that diffusers "
            "wrote (config.json and safetensors beside it), to a hub id, or to null for the project's own."
        )
    local = folder.is_dir()
    try:
        return AutoencoderKL.from_pretrained(  # type: ignore[no-untyped-call]
            str(folder) if local else source,
            subfolder=subfolder,
            use_safetensors=True,
            local_files_only=local or not download,
            torch_dtype=torch.float32,
        )
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        hint = (
            "check latents.subfolder and that weights are safetensors"
            if local
            else "give a folder, or set latents.download where the network may be asked"
        )
        raise ModelError(f"Cannot read the autoencoder {source}: {said} ({hint}).") from error


def _is_path(source: str) -> bool:
    """Tell whether a name can only be a path: hub ids are `name` or `owner/name`."""
    return source.startswith((".", "~", os.sep)) or source.count("/") > 1 or os.path.isabs(source)
