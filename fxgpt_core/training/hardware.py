"""`Hardware`: what a plan is made for, as a plain value: plans for machines not at hand can be made and tested."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    """One CUDA device: name, compute capability, memory in bytes; `usable`: this torch has kernels for it."""

    name: str
    capability: tuple[int, int]
    memory: int
    usable: bool = True


@dataclass(frozen=True)
class Hardware:
    """Processor cores this process may use, main memory that is free (bytes), and the CUDA devices in order."""

    cores: int
    memory: int
    gpus: tuple[Gpu, ...] = ()


def read_hardware(accelerators: bool = True) -> Hardware:
    """Return the hardware of this machine; without `accelerators` torch is not even imported and no GPU is listed."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = min(int(psutil.virtual_memory().available), _container_limit())
    return Hardware(cores, memory, _gpus() if accelerators else ())


def _container_limit() -> int:
    """Return what a container may still take, in bytes; cgroup version 2 only, elsewhere no limit is known."""
    try:
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text().strip() for name in ("max", "current"))
        return 2**62 if limit == "max" else max(int(limit) - int(used), 0)
    except (OSError, ValueError):
        return 2**62


def _gpus() -> tuple[Gpu, ...]:
    import torch

    with warnings.catch_warnings():  # torch warns about a card it has no kernels for; the plan says it in its own words
        warnings.simplefilter("ignore")
        if not torch.cuda.is_available():
            return ()
        built = [_version(arch) for arch in torch.cuda.get_arch_list() if arch.startswith("sm_")]
        found = []
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            capability = (int(properties.major), int(properties.minor))
            usable = not built or capability >= min(built)
            found.append(Gpu(str(properties.name), capability, int(properties.total_memory), usable))
    return tuple(found)


def _version(arch: str) -> tuple[int, int]:
    digits = "".join(letter for letter in arch if letter.isdigit())
    return int(digits[:-1]), int(digits[-1])
