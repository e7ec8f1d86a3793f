"""Configuration of the pictures of a window; light: no torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from fxgpt_core.common.config import Config

Encoding = Literal["seg", "gaf", "rp"]


class VisionConfig(Config):
    """How a window of a series becomes a picture of three channels."""

    size: int = Field(64, ge=32, le=224, description="Height and width of a picture.")
    channels: tuple[Encoding, ...] = Field(
        ("seg", "gaf", "rp"),
        description="Encodings, one channel each; with fewer than three they repeat in turn, so one alone is grey.",
    )
    period: int | None = Field(
        None, ge=2, le=4096, description="Bars per fold of the segmentation; null: each window's dominant period."
    )
    spectrum: Literal["changes", "levels"] = Field(
        "changes",
        description="What the dominant period is read from: bar-to-bar changes, whose spectrum is flat where prices "
        "walk at random, or levels without their trend, for noisy series that return to their mean.",
    )
    gaf: Literal["summation", "difference"] = Field("summation", description="Kind of Gramian angular field.")
    gaf_range: Literal["positive", "signed"] = Field(
        "positive",
        description="Scale values to 0..1, where the diagonal of a summation field gives the series back, or to -1..1, "
        "where it gives its size without the sign.",
    )
    rp_kernel: Literal["gaussian", "distance"] = Field(
        "gaussian", description="Recurrence as exp(-d²/2s²) of the distance d of two moments, or as 1 - d."
    )
    rp_scale: float = Field(
        0.2,
        gt=0,
        le=10,
        description="Distance s at which a Gaussian recurrence is 0.61; a window spans distances 0..1.",
    )

    @field_validator("channels")
    @classmethod
    def _one_to_three(cls, value: tuple[Encoding, ...]) -> tuple[Encoding, ...]:
        if not 1 <= len(value) <= 3 or len(set(value)) != len(value):
            raise ValueError(f"channels {list(value)} must be one to three different ones of seg, gaf, rp")
        return value
