"""Live and bulk forecasts of SSSD: milliseconds from a closed bar to a forecast, seconds for a pair-year.

Usage: .venv/bin/python benchmarks/sssd_live.py [--live] [--bulk] [--presets small default] [--rows 75000] [--json]

Weights are random: time does not depend on them. Live: 100 draws, 4 horizons, 20 steps at each of 200 bars of a
simulated pair with the standard features of 5m, 15m, 1h and 4h. Bulk: `SSSD.forecast` of a pair-year with as many
random columns, by the full sampler and by the student. OMP_NUM_THREADS sets the threads; CPU seconds are told beside
wall seconds, which other work on the machine stretches.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.models.adjustment import Adjustment
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.forecaster import SSSD
from fxgpt_core.models.sssd.inputs import Scaling
from fxgpt_core.models.sssd.session import LiveSession
from fxgpt_core.models.sssd.streaming import Stepper

LAYOUT = tuple(TIMEFRAMES[code] for code in ("5m", "15m", "1h", "4h"))
HORIZONS = (5, 15, 60, 240)
MADE = Provenance("bench", np.datetime64("2040-01-01", "ns"), "live")
START = np.datetime64("2023-01-02T00:00", "ns")
LIVE_BARS, STEPS, SYMBOLS, COLUMNS = 9000, 200, 64, 250


def untrained(config: SSSDConfig, dataset: Dataset) -> SSSD:
    """Return a model with random weights that fits the dataset."""
    model = SSSD(config)
    model.horizons, model.trained_until = dataset.horizons, dataset.known_at[0]
    model.scaling = Scaling.fit(dataset, np.ones(len(dataset), dtype=bool), config.scaling, config.inputs)
    model.network, model.adjustment = model.build(0), Adjustment.none(len(dataset.horizons))
    model.to("cpu")
    return model


def spent(work: Callable[[], object], times: int) -> dict[str, float]:
    """Return median and 95th percentile of wall milliseconds, and CPU milliseconds a call."""
    work()
    walls, cpu = [], time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        work()
        walls.append(1000 * (time.perf_counter() - began))
    return {
        "p50_ms": float(np.median(walls)),
        "p95_ms": float(np.quantile(walls, 0.95)),
        "cpu_ms": 1000 * (time.process_time() - cpu) / times,
    }


def live(presets: list[str]) -> dict[str, Any]:
    """Time encoder step with forecast, the whole way from a closed bar, and 64 symbols at once."""
    bars = simulate("EURUSD", "5m", start=START, bars=LIVE_BARS, seed=1)
    feed = Feed(bars.take(slice(0, LIVE_BARS - STEPS)), LAYOUT, HORIZONS, FeatureSpec())
    out: dict[str, Any] = {"columns": {code: len(table.names) for code, table in feed.dataset.tables.items()}}
    for at, preset in enumerate(presets):
        config = SSSDConfig.model_validate({"preset": preset})
        session = untrained(config, feed.dataset).open(feed)
        first = len(feed.dataset) if at == 0 else LIVE_BARS
        updates = []
        for bar in range(first, LIVE_BARS):
            began = time.perf_counter()
            session.update(bars.take(slice(bar, bar + 1)))
            updates.append(1000 * (time.perf_counter() - began))
        out[preset] = at_once(session)
        if updates:
            out["update: features, yardstick, targets, step"] = {"p50_ms": float(np.median(updates))}
    return out


def at_once(session: LiveSession) -> dict[str, Any]:
    """Time a step of all timeframes with a forecast, and the same of many symbols."""
    network, draws = session.network, session.network.config.diffusion.samples
    stepper, encoder = Stepper(network.encoder), network.encoder
    state, new = encoder.initial_state(), {code: torch.randn(1, n) for code, n in session.scaling.columns.items()}

    def one() -> None:
        stepper.step(new, state)
        session.forecast(MADE)

    many, states = {code: values.repeat(SYMBOLS, 1) for code, values in new.items()}, encoder.initial_state(SYMBOLS)
    starts = torch.randn(SYMBOLS, draws, len(HORIZONS))

    def together() -> None:
        contexts, _ = stepper.step(many, states)
        network.draw(contexts, starts, network.config.diffusion.sampling_steps)

    return {
        "step of all four timeframes and forecast": spent(one, 200),
        f"the same for {SYMBOLS} symbols at once, without quantiles": spent(together, 20),
    }


def pair_year(rows: int) -> Dataset:
    """Return a dataset of `rows` 5m bars with random features."""
    rng = np.random.default_rng(0)
    stamps = START + np.arange(rows) * LAYOUT[0].duration
    tables, last = {}, []
    known = stamps + LAYOUT[0].duration
    for bar in LAYOUT:
        opens = stamps[:: bar.minutes // 5]
        values = rng.standard_normal((len(opens), COLUMNS), dtype=np.float32)
        names = tuple(f"x{i}_{bar.code}" for i in range(COLUMNS))
        tables[bar.code] = FeatureTable(bar, opens, opens + bar.duration, names, values, "bench")
        last.append(np.searchsorted(opens + bar.duration, known, side="right") - 1)
    flat, shape = np.full(rows, 1.1), (rows, len(HORIZONS))
    candles = Candles("EURUSD", LAYOUT[0], "mid", stamps, flat, flat, flat, flat, flat, np.full(rows, np.nan))
    ends = known[:, None] + np.asarray(HORIZONS) * np.timedelta64(60_000_000_000, "ns")
    return Dataset(
        "EURUSD", candles, LAYOUT, HORIZONS, tables, np.stack(last, axis=1), np.full(shape, 1e-4), np.zeros(shape),
        ends, np.ones(shape, dtype=bool), "bench",
    )  # fmt: skip


def bulk(presets: list[str], rows: int) -> dict[str, Any]:
    """Time `SSSD.forecast` of `rows` rows by the full sampler and by the student."""
    data = pair_year(rows)
    index, out = np.arange(rows), {}
    for preset in presets:
        config = SSSDConfig.model_validate({"preset": preset, "diffusion": {"student": {}}})
        model = untrained(config, data)
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        out[preset] = {}
        for name, found in (("student", (0.0,)), ("full sampler", None)):
            model.disagreement = found
            began, cpu = time.perf_counter(), time.process_time()
            made = model.forecast(data, index, MADE)
            out[preset][name] = {
                "seconds": time.perf_counter() - began,
                "cpu_seconds": time.process_time() - cpu,
                "rows": len(made),
                "peak_mb_above_data": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024,
            }
            del made
    return out


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown tables."""
    lines = [f"Threads: {results['threads']}, cores: {os.cpu_count()}"]
    if "live" in results:
        lines += ["", "| live | preset | p50 ms | p95 ms | CPU ms |", "|---|---|---|---|---|"]
        for preset, found in results["live"].items():
            for name, r in found.items() if preset not in ("columns",) and "p50_ms" not in found else ():
                lines.append(f"| {name} | {preset} | {r['p50_ms']:.1f} | {r['p95_ms']:.1f} | {r['cpu_ms']:.1f} |")
        for name, found in results["live"].items():
            if "p50_ms" in found:
                lines.append(f"| {name} | any | {found['p50_ms']:.0f} | | |")
    if "bulk" in results:
        lines += [
            "",
            "| bulk | preset | rows | seconds | CPU seconds | peak MB above data |",
            "|---|---|---|---|---|---|",
        ]
        for preset, found in results["bulk"].items():
            for name, r in found.items():
                lines.append(
                    f"| {name} | {preset} | {r['rows']:,} | {r['seconds']:.0f} | {r['cpu_seconds']:.0f} | "
                    f"{r['peak_mb_above_data']:,.0f} |"
                )
    return "\n".join(lines)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--bulk", action="store_true")
    parser.add_argument("--presets", nargs="+", default=["small", "default"])
    parser.add_argument("--rows", type=int, default=75_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    results: dict[str, Any] = {"threads": torch.get_num_threads()}
    if asked.live or not asked.bulk:
        results["live"] = live(asked.presets)
    if asked.bulk or not asked.live:
        results["bulk"] = bulk(asked.presets, asked.rows)
    print(json.dumps(results) if asked.json else table(results))


if __name__ == "__main__":
    main()
