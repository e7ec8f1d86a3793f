"""Global settings of torch that a plan asks for, put back as they were when training ends."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.utils.deterministic

from fxgpt_core.training.plan import TrainingPlan

_LOGGERS = ("lightning.pytorch", "lightning.fabric")


@contextmanager
def torch_settings(plan: TrainingPlan) -> Iterator[None]:
    """Silence Lightning, use the plan's threads and kernels, and leave global and random state as it was.

    Operations of CUDA that have no deterministic form stay allowed (SPEC 17 wants no failure for lack of an option);
    on the CPU everything used here is deterministic for a number of threads.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels, threads = [logger.level for logger in loggers], torch.get_num_threads()
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic: Any = torch.utils.deterministic  # a module with a property, which types do not show
    benchmark, fill = torch.backends.cudnn.benchmark, deterministic.fill_uninitialized_memory
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        torch.set_num_threads(plan.threads)
        torch.backends.cudnn.benchmark = plan.cudnn_benchmark
        if plan.deterministic and plan.device == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to repeat itself
            deterministic.fill_uninitialized_memory = False
            torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=warn)
            deterministic.fill_uninitialized_memory = fill
            torch.backends.cudnn.benchmark = benchmark
            torch.set_num_threads(threads)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def attention_kernels(names: tuple[str, ...]) -> AbstractContextManager[None]:
    """Prefer attention kernels in this order of names (`flash`, `efficient`, `math`); empty: torch chooses."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if not names:
        return nullcontext()
    backends = {
        "flash": SDPBackend.FLASH_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
        "math": SDPBackend.MATH,
    }
    return sdpa_kernel([backends[name] for name in names], set_priority=True)


def seed_dropout(seed: int, device: torch.device) -> None:
    """Seed the generator that dropout draws from on `device`; the caller restores global state.

    `torch.manual_seed` would also queue a call with a stack trace for every CUDA device not in use: 7 ms a step.
    """
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
