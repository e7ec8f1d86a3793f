"""Diffusion heads: small networks over the masked horizon vector, a context and the noise level."""

from __future__ import annotations

from collections.abc import Callable

from fxgpt_core.diffusion.heads.base import Activation, Head, HeadName, HeadSize, level_embedding
from fxgpt_core.diffusion.heads.mlp import MLPHead
from fxgpt_core.diffusion.heads.transformer import TransformerHead
from fxgpt_core.diffusion.heads.unet import UNetHead

HEADS: dict[HeadName, Callable[[HeadSize], Head]] = {"mlp": MLPHead, "unet": UNetHead, "transformer": TransformerHead}

__all__ = [
    "HEADS",
    "Activation",
    "Head",
    "HeadName",
    "HeadSize",
    "MLPHead",
    "TransformerHead",
    "UNetHead",
    "level_embedding",
]
