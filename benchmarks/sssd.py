"""Benchmarks of SSSD.

Usage: .venv/bin/python benchmarks/sssd.py --dense [--presets small default] [--seconds 20] [--json]
Prints Markdown tables, or one JSON object.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import sssd_dense


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dense", action="store_true", help="dense segments against windows: speed and memory")
    parser.add_argument("--presets", nargs="+", default=["small", "default"])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    results: dict[str, Any] = {}
    tables = []
    if asked.dense:
        results["dense"] = sssd_dense.compare(asked.presets, asked.seconds)
        tables.append(sssd_dense.table(results["dense"]))
    if not results:
        parser.error("say what to measure: --dense")
    print(json.dumps(results) if asked.json else "\n\n".join(tables))


if __name__ == "__main__":
    main()
