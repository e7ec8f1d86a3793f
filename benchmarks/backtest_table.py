"""What models earn on real pairs after every cost: each backtest made by `fxgpt` itself, and one Markdown table of all.

    python benchmarks/backtest_table.py --data FOLDER --home FOLDER [--pairs GBPUSD ...] [--horizons 1h 4h 1d]

For each pair the last `--bars` hourly bars are imported, `backtests/FAMILY` is materialised for every family
(walk-forward, calibration, backtest with its blocking audits), and what `fxgpt backtest PAIR --json` answers becomes
rows. Every traded horizon is a configuration of its own, counted as a trial; all rows are judged by the trials counted
at the end. State and configuration lie in `--home`, so that a run that was stopped carries on; `--only-table` runs
nothing.
FOLDER has `h1_oanda_2007_2018/EURUSD_1h_{bid,ask}.parquet` and `h1h4_mt5_2012_2020/PAIR_1h.parquet` (bid).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fxgpt_core.backtest.luck import Luck
from fxgpt_pipeline.scrutiny import verdict_now
from fxgpt_pipeline.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]

FAMILIES = ("har", "ridge", "lightgbm", "sssd")
PIPS = {"EURUSD": 1.0, "GBPUSD": 1.4, "USDJPY": 1.2, "AUDUSD": 1.4, "USDCAD": 1.8, "EURGBP": 1.5, "EURJPY": 1.8}
"""Retail spreads in the liveliest session; where bars carry bid and ask, theirs is charged."""
GROUPS = ["time", "volatility", "returns", "seasonal", "volume"]
_KINDS = ("spread", "slippage", "commission", "swap")


def main() -> None:
    asked = _arguments()
    os.environ.update(FXGPT_HOME=str(asked.home / "state"), FXGPT_CONFIG_DIR=str(asked.home / "configs"))
    if not asked.only_table:
        _configure(asked)
        for pair in asked.pairs:
            _import(asked, pair)
        for family, pair, horizon in product(asked.families, asked.pairs, asked.horizons):
            _backtest(asked, pair, family, horizon)
    _print_table(asked)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--pairs", nargs="+", default=list(PIPS), choices=list(PIPS))
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--horizons", nargs="+", default=["1h", "4h", "1d"])
    parser.add_argument("--bars", type=int, default=25_000)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--only-table", action="store_true", help="print the table of what has been run")
    asked = parser.parse_args()
    if asked.data is None and not asked.only_table:
        parser.error("--data is needed to run anything")
    return asked


def _configure(asked: argparse.Namespace) -> None:
    """Lay the shipped configuration with fewer feature groups into the home; assets are written before each run."""
    target = asked.home / "configs"
    if not target.exists():
        shutil.copytree(ROOT / "configs", target, ignore=shutil.ignore_patterns("assets"))
    (target / "assets").mkdir(exist_ok=True)
    features = target / "features" / "default.yaml"
    said = yaml.safe_load(features.read_text())
    features.write_text(yaml.safe_dump({**said, "groups": GROUPS}))
    for pair in asked.pairs:
        _write_asset(asked, pair, asked.families[0], asked.horizons[0])


def _write_asset(asked: argparse.Namespace, pair: str, family: str, horizon: str) -> None:
    """Write the asset file of a pair for one family alone, so that nothing else is made."""
    asset = {
        "symbol": pair,
        "source": "import",
        "timeframes": ["1h", "4h", "1d"],
        "horizons": ["1h", "4h", "1d"],
        "costs": {"spread_pips": PIPS[pair], "commission_per_million": 30, "slippage_pips": 0.1,
                  "slippage_volatility": 0.02, "swap": True},
        "models": {family: {"preset": "small"} if family == "sssd" else {}},
        "overrides": {"walk_forward": {"folds": asked.folds}, "backtest": {"horizon": horizon}},
    }  # fmt: skip
    (asked.home / "configs" / "assets" / f"{pair}.yaml").write_text(yaml.safe_dump(asset, sort_keys=False))


def _import(asked: argparse.Namespace, pair: str) -> None:
    """Import the last bars of a pair; bid and ask of EURUSD together, so that mid bars carry their spread."""
    folder = asked.home / "bars"
    if list(folder.glob(f"{pair}_*")):
        return
    folder.mkdir(parents=True, exist_ok=True)
    sources = [f"h1_oanda_2007_2018/EURUSD_1h_{side}" for side in ("bid", "ask")] if pair == "EURUSD" else [
        f"h1h4_mt5_2012_2020/{pair}_1h"]  # fmt: skip
    files = []
    for source in sources:
        path = asked.data / f"{source}.parquet"
        files.append(folder / path.name)
        pd.read_parquet(path).tail(asked.bars).to_parquet(files[-1])
    side = [] if len(files) > 1 else ["--side", "bid"]
    _fxgpt(["import", *map(str, files), "--symbol", pair, "--timeframe", "1h", "--tz", "UTC", *side])


def _backtest(asked: argparse.Namespace, pair: str, family: str, horizon: str) -> None:
    """Materialise one backtest and keep what the command line says of it; a failure is printed and the rest goes on."""
    _write_asset(asked, pair, family, horizon)
    began = time.perf_counter()
    made = _fxgpt(["materialize", f"backtests/{family}", "--symbol", pair])
    outcome = "FAILED" if made is None else "made"
    print(f"{pair} {family} {horizon}: {outcome} in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    if made is None:
        return
    said = _fxgpt(["backtest", pair, "--json"])
    if said is not None:
        answers = asked.home / "answers"
        answers.mkdir(exist_ok=True)
        (answers / f"{pair}.{family}.{horizon}.json").write_text(json.dumps(json.loads(said)[family]))


def _fxgpt(words: list[str]) -> str | None:
    done = subprocess.run([sys.executable, "-m", "fxgpt_pipeline.cli.main", *words], cwd=ROOT,
                          capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode:
        print(f"fxgpt {' '.join(words)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}", file=sys.stderr, flush=True)
        return None
    return done.stdout


def _print_table(asked: argparse.Namespace) -> None:
    """Print a row per configuration that trades, one for a family that leans nowhere, and what survives."""
    workspace, traded = Workspace.from_environment(), []
    print(f"| pair | model | horizon | trades | gross | {' | '.join(_KINDS)} | net (95 %) | Sharpe (95 %) | deflated | "
          "random beaten | held |")  # fmt: skip
    print("|---" * (len(_KINDS) + 10) + "|")
    for pair, family in product(asked.pairs, asked.families):
        said = {horizon: _answer(asked, pair, family, horizon) for horizon in asked.horizons}
        found = {horizon: one for horizon, one in said.items() if one is not None}
        rest = [horizon for horizon, one in found.items() if one["status"] != "traded"]
        for horizon, one in found.items():
            if horizon not in rest:
                luck = verdict_now(workspace.lineage(pair), family, one).luck
                traded.append((one, luck))
                print(f"| {pair} | {family} | {horizon} | {_cells(one, luck)} |")
        if rest:
            print(
                f"| {pair} | {family} | {', '.join(rest)} | {found[rest[0]]['status']}"
                + " | " * (len(_KINDS) + 6)
                + "|"
            )
    won = [one for one, _ in traded if one["metrics"]["return"] > 0]
    sure = [one for one, _ in traded if one["intervals"]["return"] and one["intervals"]["return"][0] > 0]
    real = [one for one, luck in traded if luck is not None and luck.deflated > 0.95]
    print(f"\n{len(traded)} configurations trade; after costs {len(won)} earn, {len(sure)} with an interval above "
          f"zero, {len(real)} with a deflated Sharpe ratio above 95 %.")  # fmt: skip


def _answer(asked: argparse.Namespace, pair: str, family: str, horizon: str) -> dict[str, Any] | None:
    path = asked.home / "answers" / f"{pair}.{family}.{horizon}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _cells(one: dict[str, Any], luck: Luck | None) -> str:
    """Return the figures of a configuration that trades; money as a share of the cash at the start."""
    metrics, cash = one["metrics"], one["initial_cash"]
    low, high = one["intervals"]["return"] or (float("nan"), float("nan"))
    worst, best = one["intervals"]["sharpe"] or (float("nan"), float("nan"))
    held = {rule["name"]: rule["total_return"] for rule in one["comparisons"]}["buy and hold"]
    return " | ".join(
        (
            f"{metrics['trades']:.0f}",
            f"{metrics['gross_return']:+.1%}",
            *(f"{-one['costs'][f'{kind}_paid'] / cash:+.1%}" for kind in _KINDS),
            f"{metrics['return']:+.1%} ({low:+.1%} to {high:+.1%})",
            f"{metrics['sharpe']:.2f} ({worst:.2f} to {best:.2f})",
            "" if luck is None else f"{luck.deflated:.1%}",
            f"{1 - one['random_entries']['p_return']:.0%}",
            f"{held:+.1%}",
        )
    )


if __name__ == "__main__":
    main()
