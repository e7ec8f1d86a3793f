"""`Gauge`: how busy, full and hungry the GPU is while a model trains."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable

Reading = tuple[float, float, float]  # utilisation in percent, memory in MiB, power in watts

_QUERY = "--query-gpu=utilization.gpu,memory.used,power.draw"
NAMES = ("gpu_utilisation_percent", "gpu_memory_mib", "gpu_power_watts")


def read_gpus() -> list[Reading]:
    """Return a reading per GPU from `nvidia-smi`, none where it is missing or says nothing usable."""
    command = ["nvidia-smi", _QUERY, "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        rows = [tuple(float(part) for part in line.split(",")) for line in answer.strip().splitlines()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3]


class Gauge:
    """Reads all GPUs every `every` seconds in a thread; `take` gives the means since the last call.

    Used as a context; where the first reading finds no GPU, no thread is started.
    """

    def __init__(self, read: Callable[[], list[Reading]] = read_gpus, every: float = 2.0) -> None:
        self.read, self.every = read, every
        self._readings: list[Reading] = []
        self._lock, self._end = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Gauge:
        if self._look():
            self._thread = threading.Thread(target=self._run, name="gpu gauge", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def take(self) -> dict[str, float]:
        """Return mean utilisation, memory and power over GPUs and time since the last call; empty without readings."""
        with self._lock:
            readings, self._readings = self._readings, []
        if not readings:
            return {}
        return {name: sum(row[i] for row in readings) / len(readings) for i, name in enumerate(NAMES)}

    def _look(self) -> bool:
        found = self.read()
        with self._lock:
            self._readings += found
        return bool(found)

    def _run(self) -> None:
        while not self._end.wait(self.every):
            self._look()
