"""Speed of drawing windows as pictures, against pyts in the same run.

    python benchmarks/vision.py                # two threads, 64 windows of 100 x 5 as 3 x 224 x 224
    python benchmarks/vision.py --threads 1

pyts draws Gramian fields and recurrence plots, one variable at a time and no larger than the series, and has no
segmentation: it is asked for two of the three encodings, which are then averaged over variables and enlarged by torch.
The last comparison is like for like: one variable, as many pixels as moments, no enlarging. Wall and CPU milliseconds
are medians over repeats, `best` is the least wall time, which other work on the machine spoils least.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from pyts.image import GramianAngularField, RecurrencePlot
from torch.nn import functional

from fxgpt_core.models.ldm4ts.vision import VisionConfig, encode, encode_bytes

ROWS, LENGTH, VARIABLES, SIZE = 64, 100, 5, 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    windows = torch.randn(ROWS, LENGTH, VARIABLES, generator=torch.Generator().manual_seed(0)).cumsum(dim=1)
    one = windows[..., :1].contiguous()
    everything, two = VisionConfig(size=SIZE), VisionConfig(size=SIZE, channels=("gaf", "rp"))
    plain = VisionConfig(size=LENGTH, channels=("gaf", "rp"), rp_kernel="distance")
    work: dict[str, Callable[[], object]] = {
        "all three, 224": lambda: encode(windows, everything),
        "all three, 224, 8-bit": lambda: encode_bytes(windows, everything),
        "all three, 64": lambda: encode(windows, VisionConfig(size=64)),
        "gaf and rp, 224": lambda: encode(windows, two),
        "gaf and rp, 224, pyts": lambda: by_pyts(windows.numpy(), SIZE),
        "gaf and rp of one variable, 100": lambda: encode(one, plain),
        "gaf and rp of one variable, 100, pyts": lambda: by_pyts(one.numpy(), LENGTH),
    }
    for name, made in work.items():
        print(json.dumps({"what": name, "threads": options.threads, **timed(made, options.repeat)}))


def by_pyts(windows: np.ndarray, size: int) -> torch.Tensor:
    """Return (rows, 2, size, size): GASF and RP of each variable, averaged, and enlarged where they are smaller."""
    rows, length, variables = windows.shape
    series = windows.transpose(0, 2, 1).reshape(-1, length)
    low, high = series.min(axis=1, keepdims=True), series.max(axis=1, keepdims=True)
    drawn = (
        GramianAngularField(sample_range=(0, 1)).transform(series),
        RecurrencePlot().transform((series - low) / (high - low)),
    )
    made = torch.from_numpy(np.stack([each.reshape(rows, variables, length, length).mean(axis=1) for each in drawn], 1))
    if size == length:
        return made
    return functional.interpolate(made.float(), (size, size), mode="bilinear", align_corners=True)


def timed(made: Callable[[], object], repeat: int) -> dict[str, float]:
    """Return milliseconds of wall and of CPU time."""
    for _ in range(3):
        made()
    wall, cpu = [], []
    for _ in range(repeat):
        begun, used = time.perf_counter(), time.process_time()
        made()
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - used)
    figures = {"wall_ms": statistics.median(wall), "best_ms": min(wall), "cpu_ms": statistics.median(cpu)}
    return {name: round(1e3 * value, 2) for name, value in figures.items()}


if __name__ == "__main__":
    main()
