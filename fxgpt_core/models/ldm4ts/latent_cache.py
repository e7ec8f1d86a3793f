"""Latents of a training span, computed once: in memory on the device, and on disk where a folder is given."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.models.ldm4ts.latents import Latents
from fxgpt_core.models.ldm4ts.windows import WindowImages

_NAME = "latents"


@torch.no_grad()
def latents_of(
    latents: Latents, images: WindowImages, bars: Tensor, folder: Path | None = None, piece: int = 256
) -> Tensor:
    """Return the latents (rows, channels, size / factor, size / factor) of the windows that end with `bars` (rows,).

    They lie on the device of the series; 16 KB a window of 64 x 64 pixels at a quarter of the size. Pictures are drawn
    and encoded `piece` at a time and never kept. With `folder` they are read from there where they were computed
    before from equal windows by an equal autoencoder, and written otherwise.
    """
    path = None if folder is None else folder / f"{cache_key(latents, images, bars)}.safetensors"
    device = images.series.device
    if path is not None and path.is_file():
        try:
            return load_file(path, device=str(device))[_NAME]
        except SafetensorError:  # damaged: as good as absent
            path.unlink()
    made = torch.cat([latents.encode(images(part)) for part in torch.split(bars, piece)])
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file({_NAME: made.cpu().contiguous()}, partial)
        partial.replace(path)
    return made


def cache_key(latents: Latents, images: WindowImages, bars: Tensor) -> str:
    """Return the hash of what decides these latents: the windows' bars, how they are drawn, the autoencoder."""
    return stable_hash([images.fingerprint(bars), latents.identity])
