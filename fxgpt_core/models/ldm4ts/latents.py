"""`Latents`: what turns pictures into the space that diffuses and back; frozen while the forecaster trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.models.forecaster import FitReport
from fxgpt_core.models.ldm4ts import vae_files
from fxgpt_core.models.ldm4ts.published import PublishedAutoencoder
from fxgpt_core.models.ldm4ts.vae import SmallVae
from fxgpt_core.models.ldm4ts.vae_config import LatentsConfig
from fxgpt_core.models.ldm4ts.vae_fit import fit_vae
from fxgpt_core.models.ldm4ts.windows import WindowImages
from fxgpt_core.training.plan import TrainingPlan

_REFERENCE = "autoencoder.json"


class Latents(Protocol):
    """A frozen autoencoder of pictures (rows, 3, size, size) in -1..1, whose size is a multiple of `factor`.

    Latents have `channels` channels and a deviation of about one over the pictures that the autoencoder knows.
    `identity` is a hash of weights and scaling: what latents kept elsewhere belong to.
    """

    channels: int
    factor: int

    @property
    def identity(self) -> str: ...

    def encode(self, images: Tensor) -> Tensor:
        """Return the posterior's means, scaled: (rows, channels, size / factor, size / factor)."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures (rows, 3, size, size) of scaled latents; gradients pass to the latents."""
        ...

    def to(self, device: torch.device | str) -> Self: ...


def fit_latents(
    config: LatentsConfig,
    images: WindowImages,
    taught: Tensor,
    judged: Tensor,
    plan: TrainingPlan,
    progress: Progress = silent,
) -> tuple[Latents, FitReport | None]:
    """Return the published autoencoder of the configuration, or the project's own, trained as `vae_fit.fit_vae` says,
    with the report of its training. On the device of the plan.
    """
    if config.autoencoder is None:
        return fit_vae(images, taught, judged, config.vae, plan, progress)
    return PublishedAutoencoder(config.autoencoder, config.subfolder, config.download).to(plan.device), None


def save_latents(folder: Path, latents: Latents, images: WindowImages) -> None:
    """Write the project's own autoencoder into `folder`, of a published one where it is found and its hash."""
    if isinstance(latents, SmallVae):
        vae_files.write(folder, latents, images.config, images.length)
        return
    if not isinstance(latents, PublishedAutoencoder):
        raise ModelError(f"Latents of type {type(latents).__name__} cannot be saved.")
    folder.mkdir(parents=True, exist_ok=True)
    reference = {"source": latents.source, "subfolder": latents.subfolder, "identity": latents.identity}
    (folder / _REFERENCE).write_text(json.dumps(reference), encoding="utf-8")


def load_latents(folder: Path) -> Latents:
    """Read what `save_latents` wrote, frozen and on the CPU.

    Raises ModelError where files are missing or damaged, or a published autoencoder is no longer the one of the fit.
    """
    if not (folder / _REFERENCE).is_file():
        return vae_files.read(folder)
    kept = json.loads((folder / _REFERENCE).read_text(encoding="utf-8"))
    latents = PublishedAutoencoder(kept["source"], kept["subfolder"])
    if latents.identity != kept["identity"]:
        raise ModelError(
            f"The autoencoder at {kept['source']} has changed since the model was trained on it: restore it or train "
            "again."
        )
    return latents
