"""`TrainingPlan`: device, precision, threads and seed, decided once from the hardware and passed in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainingPlan:
    """What a `Forecaster.fit` may use.

    `device` is a torch device string; `precision` a Lightning precision string; `seed` feeds every random draw;
    `checkpoints` is the folder for resumable state (None: nothing is kept). `reasons` say why, for people.
    """

    seed: int
    device: str = "cpu"
    precision: str = "32-true"
    threads: int = 1
    checkpoints: Path | None = None
    reasons: tuple[str, ...] = ()


def plan_training(seed: int, checkpoints: Path | None = None, accelerated: bool = True) -> TrainingPlan:
    """Return the plan for this machine: one CUDA device where torch finds one, else every CPU core (SPEC 17).

    `accelerated=False` is for families that never use a device: torch is not even imported.
    """
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not accelerated:
        return TrainingPlan(seed, "cpu", "32-true", threads, checkpoints, (f"{threads} CPU threads",))
    import torch

    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        precision = "bf16-mixed" if (major, minor) >= (8, 0) else "16-mixed" if (major, minor) >= (7, 0) else "32-true"
        why = f"{torch.cuda.get_device_name()} with capability {major}.{minor}: {precision}"
        return TrainingPlan(seed, "cuda", precision, threads, checkpoints, (why,))
    why = f"no CUDA device: float32 on {threads} CPU threads"
    return TrainingPlan(seed, "cpu", "32-true", threads, checkpoints, (why,))
