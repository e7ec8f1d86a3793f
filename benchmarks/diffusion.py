"""Speed of sampling by head and width, live and in bulk, against a naive loop over the same head.

    python benchmarks/diffusion.py                # two threads
    python benchmarks/diffusion.py --threads 1 --heads mlp

Live is one row, 100 draws x 4 horizons x 20 DDIM steps. Bulk is many rows of 100 draws, in rows x draws x steps a
second, and what a pair-year (75 000 rows) takes from it, by the full sampler and by the one-step student. The peer
calls the same head through its training path and projects the context again for every draw and step. Every figure is
the best of several runs; `cpu` is process time, which a busy machine cannot spoil as it does `wall`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch

from fxgpt_core.diffusion.denoiser import Denoiser
from fxgpt_core.diffusion.heads import HEADS, HeadSize
from fxgpt_core.diffusion.samplers import SamplerName, ddim, sample, sampler_levels
from fxgpt_core.diffusion.schedules import Schedule
from fxgpt_core.diffusion.student import Student

SCHEDULE, DRAWS, HORIZONS, YEAR = Schedule(), 100, 4, 75_000
SIZES = {  # of configs/sssd and two round widths between
    "small": HeadSize(HORIZONS, 32, 48, 2, 8),
    "64": HeadSize(HORIZONS, 64, 64, 3, 16),
    "256": HeadSize(HORIZONS, 256, 256, 3, 64),
    "default": HeadSize(HORIZONS, 512, 256, 3, 128),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--heads", nargs="*", default=list(HEADS), choices=list(HEADS))
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--rows", type=int, default=256, help="Rows of the bulk measurement.")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for head in options.heads:
        for name, size in SIZES.items():
            torch.manual_seed(0)
            net = Denoiser(HEADS[head](size), SCHEDULE).eval()
            torch.nn.init.normal_(net.head.read.weight, std=0.1)
            rows = options.rows if head == "mlp" else max(options.rows // 16, 1)
            with torch.inference_mode():
                figures = {**live(net, options.repeat), **bulk(net, rows, max(options.repeat // 7, 2))}
            print(json.dumps({"head": head, "size": name, **figures}))


def live(net: Denoiser, repeat: int) -> dict[str, float]:
    """Milliseconds of one forecast."""
    context, start = torch.randn(1, net.head.size.context), torch.randn(1, DRAWS, HORIZONS)
    shared = timed(lambda: drawn(net, context, start, "ddim", 20), repeat)
    loop = timed(lambda: naive(net, context, start, 20), repeat)
    return {
        "live_ms_wall": round(1e3 * shared[0], 2),
        "live_ms_cpu": round(1e3 * shared[1], 2),
        "live_naive_ms_cpu": round(1e3 * loop[1], 2),
    }


def bulk(net: Denoiser, rows: int, repeat: int) -> dict[str, float]:
    """Rows x draws x steps a second, and minutes of a pair-year."""
    context, start = torch.randn(rows, net.head.size.context), torch.randn(rows, DRAWS, HORIZONS)
    student = Student(net.head).eval()
    full = timed(lambda: drawn(net, context, start, "ddim", 20), repeat)
    loop = timed(lambda: naive(net, context, start, 20), repeat)
    ten = timed(lambda: drawn(net, context, start, "dpm++", 10), repeat)
    one = timed(lambda: student(start, torch.ones(HORIZONS), context), repeat)
    year = YEAR / rows / 60
    return {
        "bulk_million_a_cpu_second": round(rows * DRAWS * 20 / full[1] / 1e6, 2),
        "bulk_naive_million_a_cpu_second": round(rows * DRAWS * 20 / loop[1] / 1e6, 2),
        "year_minutes_wall_ddim20": round(year * full[0], 2),
        "year_cpu_minutes_ddim20": round(year * full[1], 2),
        "year_cpu_minutes_dpm10": round(year * ten[1], 2),
        "year_cpu_minutes_student": round(year * one[1], 3),
    }


def drawn(net: Denoiser, context: torch.Tensor, start: torch.Tensor, name: SamplerName, steps: int) -> torch.Tensor:
    bound = net.bind(torch.ones(HORIZONS), context, sampler_levels(name, SCHEDULE, steps)[:-1])
    return sample(name, bound, start, SCHEDULE, steps)


def naive(net: Denoiser, context: torch.Tensor, start: torch.Tensor, steps: int) -> torch.Tensor:
    each = context[:, None].repeat(1, DRAWS, 1)
    mask = torch.ones(HORIZONS)
    return ddim(lambda x, level: net(x, torch.full(x.shape[:-1], level), mask, each), start, SCHEDULE, steps)


def timed(call: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Return the best (wall, process) seconds of `repeat` calls after one to warm up."""
    call()
    wall, cpu = [], []
    for _ in range(repeat):
        before = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
    return min(wall), min(cpu)


if __name__ == "__main__":
    main()
