"""Limits on computing time that mean the same on a slow machine: they grow with the time of a fixed piece of work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_WORK_SECONDS = 0.07  # what `_work` takes on the two-core machine on which the limits were set


def _work() -> float:
    """Return the processor seconds of the fixed work: half of it linear algebra, half of it the interpreter."""
    matrix = np.random.default_rng(0).normal(size=(300, 300))
    started = time.process_time()
    for _ in range(4):
        np.linalg.eigh(matrix @ matrix.T)
    total = 0
    for number in range(600_000):
        total += number * number
    return time.process_time() - started


def slowness() -> float:
    """How much slower this machine is now than the one on which the limits were set; at least 1."""
    return max(1.0, _work() / _WORK_SECONDS)


@contextmanager
def computed_within(seconds: float) -> Iterator[None]:
    """Fail when the block takes more processor seconds than that, on a machine as fast as the one of the limits.

    Processor time, so that what else runs does not count; measured before and after the block, because a machine that
    shares its cores changes its speed.
    """
    before = slowness()
    started = time.process_time()
    yield
    used = time.process_time() - started
    allowed = seconds * max(before, slowness())
    assert used < allowed, f"took {used:.2f} s of processor time; {allowed:.2f} s are allowed at this machine's speed"
