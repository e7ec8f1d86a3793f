"""How long a person waits: `fxgpt --help`, loading the definitions, against bare `python -c pass` in the same run.

Usage: .venv/bin/python benchmarks/startup.py [--runs 7]
Prints a Markdown table of medians with minimum and maximum, and the size of the environment.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
COMMANDS = {
    "python -c pass (peer)": [sys.executable, "-c", "pass"],
    "fxgpt --help": [str(BIN / "fxgpt"), "--help"],
    "import dagster (peer)": [sys.executable, "-c", "import dagster"],
    "load definitions": [sys.executable, "-c", "from fxgpt_pipeline.definitions import defs; defs()"],
}


def seconds(command: list[str]) -> float:
    """Return the wall time of one run of `command`; raises CalledProcessError when it fails."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure in turn, so that a slow spell of the machine hits every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(runs + 1):
        for name, command in COMMANDS.items():
            taken = seconds(command)
            if turn:  # the first turn warms the file cache
                times[name].append(taken)
    print("| what | median s | min | max |\n|---|---|---|---|")
    for name, values in times.items():
        print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |")
    size = sum(f.stat().st_size for f in Path(sys.prefix).rglob("*") if f.is_file() and not f.is_symlink())
    print(f"\nEnvironment: {size / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
