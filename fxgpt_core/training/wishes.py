"""`Wishes`: what a person asks of the hardware plan; every one of them may be left to the planner."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fxgpt_core.common.config import Config

Switch = Literal["auto", "on", "off"]


class Wishes(Config):
    """Requests to the planner. One that the machine cannot fulfil is replaced by the next best and the plan says so."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train.")
    devices: int | None = Field(None, ge=1, le=64, description="Devices at once; default as many as pay.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="Arithmetic of matrix products.")
    compile: Switch = Field("auto", description="Whether torch.compile is tried.")
    recompute: Switch = Field("auto", description="Gradient checkpointing: recompute activations to save memory.")
    pass_items: int | None = Field(
        None, ge=1, description="Items per device and pass; default as many as memory holds."
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of a process; default as many as pay.")
    deterministic: bool = Field(True, description="Whether equal seeds must give equal bits on one machine.")
