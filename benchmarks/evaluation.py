"""All baselines, ridge and LightGBM in walk-forward on real bars: scores, significance, speed, as Markdown.

    python benchmarks/evaluation.py --data FOLDER --timeframe 5m --out tables.md
    python benchmarks/evaluation.py --data FOLDER --timeframe 1h --pairs GBPUSD AUDUSD --families ewma har ridge

FOLDER holds bar files named like EURUSD_5m.parquet or EURUSD_1h_bid.parquet, in subfolders or not; whatever
`fxgpt import` reads, and the bars need not be complete. Defaults of the families are used, nothing is tuned. A run that
is interrupted carries on where it was: finished folds and results lie in the cache folder.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from evaluation_runs import (
    BASELINES,
    DEFAULT_FAMILIES,
    ENTRIES,
    HORIZONS,
    LAYOUTS,
    SEED,
    Result,
    Series,
    find_series,
    make_dataset,
    read_candles,
    read_result,
    run,
    write_result,
)
from evaluation_tables import claim_summary, claim_table, pooled_table, series_table
from ridge_claim import Gain, claim

from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.evaluation import evaluate
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import final_split
from fxgpt_core.features.dataset import Split
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.training.plan import TrainingPlan

_PAIR_YEAR = 74_880


def main() -> None:
    options = _options()
    logging.disable(logging.WARNING)  # columns that a span leaves out, five times a family
    series = find_series(options.data, options.timeframe, options.pairs)
    series = [one for one in series if not options.folders or one.files[0].parent.name in options.folders]
    if not series:
        raise SystemExit(f"{options.data} holds no bars of {options.timeframe} (files such as EURUSD_5m.parquet).")
    parts = [f"## {options.timeframe} bars, walk-forward", ""]
    results = [_result(one, options.families, options.cache, options.again) for one in series]
    parts += [series_table(result) + "\n" for result in results]
    for folder, members in _by_folder(series, results).items():
        if len(members) > 1:
            parts += [f"### All {len(members)} pairs of {folder}", "", pooled_table(members), ""]
    if options.claim is not None:
        parts += [_claims(series, options.cache, options.claim)]
    if options.speed:
        parts += ["### A pair-year", "", speed_table([name for name in options.families if name in DEFAULT_FAMILIES])]
    text = "\n".join(parts)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    else:
        print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder of bar files.")
    parser.add_argument("--timeframe", choices=sorted(LAYOUTS), default="5m")
    parser.add_argument("--pairs", nargs="*", default=(), help="Symbols; all where none is named.")
    parser.add_argument("--folders", nargs="*", default=(), help="Subfolders; all where none is named.")
    parser.add_argument("--families", nargs="+", choices=sorted(ENTRIES), default=DEFAULT_FAMILIES)
    parser.add_argument("--cache", type=Path, default=Path(".fxgpt/benchmarks/evaluation"))
    parser.add_argument(
        "--again", action="store_true", help="Evaluate again; folds whose code and bars are as before stay."
    )
    parser.add_argument(
        "--claim", nargs="*", metavar="FAMILY", help="Add the experiment of `ridge_claim`, with these families."
    )
    parser.add_argument("--speed", action="store_true", help="Add the time of each family on a simulated pair-year.")
    parser.add_argument("--out", type=Path, help="Markdown file; printed where not given.")
    return parser.parse_args()


def _result(series: Series, families: Sequence[str], cache: Path, again: bool) -> Result:
    """Return the stored result of a series where it has the families asked for, else make and store it."""
    file = cache / "results" / f"{series.name.replace(' ', '_')}_{series.bar}.json"
    if file.exists() and not again:
        known = read_result(file)
        if set(families) <= set(known.crps):
            return known
    result = run(series, families, cache)
    write_result(result, file)
    return result


def _by_folder(series: Sequence[Series], results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the results of each folder, whose pairs were traded at the same time."""
    found: dict[str, list[Result]] = {}
    for one, result in zip(series, results, strict=True):
        found.setdefault(one.files[0].parent.name, []).append(result)
    return found


def _claims(series: Sequence[Series], cache: Path, extra: Sequence[str]) -> str:
    gains: dict[str, dict[str, tuple[Gain, ...]]] = {}
    for one in series:
        started = time.perf_counter()
        gains[one.name] = claim(read_candles(one, cache), extra)
        print(f"{one.name}: a dozen columns {time.perf_counter() - started:.0f} s", flush=True)
    horizons = HORIZONS[series[0].bar]
    tables = "\n\n".join(claim_table(name, rows, horizons) for name, rows in gains.items())
    return f"### A dozen columns, last fifth\n\n{claim_summary(gains, horizons)}\n\n{tables}\n"


def speed_table(families: Sequence[str]) -> str:
    """Return what fit on one simulated year of 5m bars, forecast and evaluation of the next take, four horizons."""
    candles = simulate("EURUSD", "5m", start=np.datetime64("2018-01-07T22:00", "ns"), bars=2 * _PAIR_YEAR, seed=SEED)
    started = time.process_time()
    dataset = make_dataset(candles)
    spent = time.process_time() - started
    rows, made = np.arange(_PAIR_YEAR, 2 * _PAIR_YEAR), {}
    split = final_split(dataset.head(_PAIR_YEAR), WalkForwardConfig())
    masks = [np.concatenate([m, np.zeros_like(m)]) for m in (split.train, split.validation, split.test)]
    dataset = dataset.with_split(Split(split.name, *masks, split.trained_until))
    labels = int((dataset.mask & (masks[0] | masks[1])).any(axis=1).sum())
    lines = [
        f"Fitted on {labels} decisions of one simulated year, forecast on the {len(rows)} of the next; "
        f"{len(dataset.horizons)} horizons, CPU seconds. Features and yardstick of two years: {spent:.1f} s.",
        "",
        "| family | fit | forecast of a year |",
        "|---|---|---|",
    ]
    for name in families:
        if name == "ridge_narrow":
            continue
        entry = ENTRIES[name]
        model = entry.create(entry.config({}))
        started = time.process_time()
        model.fit(dataset, TrainingPlan(SEED))
        fitted = time.process_time()
        made[name] = model.forecast(dataset, rows, Provenance("speed", dataset.known_at[-1]))
        lines.append(f"| {entry.label} | {fitted - started:.2f} | {time.process_time() - fitted:.2f} |")
        print(lines[-1], flush=True)
    baselines = [name for name in made if name in BASELINES]
    two = {name: made[name] for name in (*baselines[:1], next(reversed(made)))}
    started = time.process_time()
    evaluate("EURUSD", two, two, Outcomes.from_dataset(dataset), list(two)[:1], EvaluationConfig())
    spent = (time.process_time() - started) / len(two)
    return "\n".join([*lines, "", f"Evaluation with all breakdowns: {spent:.1f} s a family (goal: < 5)."])


if __name__ == "__main__":
    main()
