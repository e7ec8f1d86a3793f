"""Latents of a training span, computed once: in memory on the device, and on disk where a folder is given."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.models.ldm4ts.latents import Latents

_NAME = "latents"


class Pictures(Protocol):
    """Draws the pictures of rows on its device; `fingerprint` hashes all that decides them."""

    @property
    def device(self) -> torch.device: ...

    def __call__(self, rows: Tensor, /) -> Tensor: ...

    def fingerprint(self, rows: Tensor, /) -> str: ...


@torch.no_grad()
def latents_of(
    latents: Latents, images: Pictures, rows: Tensor, folder: Path | None = None, piece: int = 256
) -> Tensor:
    """Return the latents (rows, channels, size / factor, size / factor) of the pictures of `rows` (rows,) int64.

    They lie on the device of the pictures, which are drawn and encoded `piece` at a time and never kept. With `folder`
    they are read from there where they were computed before from equal pictures by an equal autoencoder, and written
    otherwise.
    """
    path = None if folder is None else folder / f"{cache_key(latents, images, rows)}.safetensors"
    if path is not None and path.is_file():
        try:
            return load_file(path, device=str(images.device))[_NAME]
        except SafetensorError:  # damaged: as good as absent
            path.unlink()
    made = torch.cat([latents.encode(images(part)) for part in torch.split(rows, piece)])
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file({_NAME: made.cpu().contiguous()}, partial)
        partial.replace(path)
    return made


def cache_key(latents: Latents, images: Pictures, rows: Tensor) -> str:
    """Return the hash of what decides these latents: the series, how they are drawn, the autoencoder."""
    return stable_hash([images.fingerprint(rows), latents.identity])
