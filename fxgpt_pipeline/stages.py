"""The lineage of one symbol as data: every stage, what it stands on and what its result depends on.

The Dagster assets take their keys, dependencies and code versions from here, and so do the fingerprints that tell
whether a stored result is still valid: one graph, two readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fxgpt_core.models.registry import FAMILIES

Key = tuple[str, ...]
TRAINING_POOL = "training"

CANDLES: Key = ("market", "candles")
TABLES: Key = ("features", "tables")
TARGETS: Key = ("features", "targets")
SCORES: Key = ("evaluation", "scores")
DRIFT: Key = ("monitoring", "drift")
CHAMPION: Key = ("lifecycle", "champion")
REPORT: Key = ("reports", "overview")
LEADERBOARD: Key = ("reports", "leaderboard")
PORTFOLIO: Key = ("portfolio", "backtest")
DASHBOARD: Key = ("reports", "dashboard")
"""These three stand over all symbols; they belong to no symbol's lineage and have no partitions."""
PERFORMANCE: Key = ("monitoring", "performance")
"""How live forecasts did: it changes with every outcome, so no symbol's lineage waits for it."""
SHADOW: Key = ("lifecycle", "shadow")
"""What becomes of a shadow, judged on live outcomes as they come."""
RETRAINED: Key = ("backtests", "retrained")
"""The retraining backtest, made when somebody asks for it: no symbol's lineage waits for dozens of trainings."""


def walk_forward(family: str) -> Key:
    """Key of a family's out-of-sample forecasts."""
    return ("walk_forward", family)


def calibrated(family: str) -> Key:
    """Key of a family's calibrated forecasts."""
    return ("calibration", family)


def backtest(family: str) -> Key:
    """Key of a family's backtest."""
    return ("backtests", family)


def candidate(family: str) -> Key:
    """Key of a family's model trained on everything known, registered as a version."""
    return ("candidates", family)


def groundwork(family: str, name: str) -> Key:
    """Key of a part of a family's fit that is made before its candidate."""
    return ("models", family, name)


@dataclass(frozen=True)
class Stage:
    """One stage: `settings` names the configuration sections that its result depends on, `family` its model family.

    `gates` are the blocking checks without which the result counts for nothing.
    """

    key: Key
    deps: tuple[Key, ...]
    settings: tuple[str, ...] = ()
    family: str | None = None
    code_version: str = "1"
    gates: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The key as Dagster and people write it: `walk_forward/ridge`."""
        return "/".join(self.key)


def build_stages(families: Iterable[str]) -> Mapping[Key, Stage]:
    """Return every stage by key, each after the stages that it stands on."""
    names = tuple(families)
    stages = [
        Stage(CANDLES, (), ("source", "timeframes", "quality"), gates=("data_quality",)),
        Stage(TABLES, (CANDLES,), ("features", "releases"), gates=("no_look_ahead", "warm_up_suffices")),
        Stage(TARGETS, (CANDLES,), ("features", "horizons")),
    ]
    for name in names:
        stages += [
            Stage(walk_forward(name), (TABLES, TARGETS), ("walk_forward", "seed"), name),
            Stage(calibrated(name), (walk_forward(name),), ("calibration",), name, code_version="3"),
            Stage(
                backtest(name),
                (calibrated(name), CANDLES),
                ("backtest", "costs", "instruments"),
                name,
                code_version="4",
                gates=("forecasts_came_first", "costs_charged", "equity_reconciles"),
            ),
        ]
    stages += [
        Stage(
            SCORES,
            tuple(calibrated(n) for n in names),
            ("evaluation", "releases", "seed", "acknowledged_alarms"),
            code_version="4",
        ),
        Stage(DRIFT, (TABLES, TARGETS), ("drift", "seed"), code_version="2"),
    ]
    for name in names:
        parts = tuple(groundwork(name, part.name) for part in FAMILIES[name].groundwork)
        stages += [Stage(key, (TABLES, TARGETS), ("walk_forward", "seed"), name) for key in parts]
        stages.append(Stage(candidate(name), (calibrated(name), *parts), ("walk_forward", "seed"), name))
    evidence = tuple(key(n) for n in names for key in (candidate, backtest))
    stages += [
        Stage(CHAMPION, (SCORES, *evidence), ("gate", "acknowledged_alarms")),
        Stage(REPORT, (CHAMPION, DRIFT), ("aliases",), code_version="2"),
    ]
    return {stage.key: stage for stage in stages}
