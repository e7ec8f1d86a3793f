"""The leaderboard ranks families over pairs and says what stands behind each figure."""

from __future__ import annotations

import json

import pytest

from fxgpt_core.evaluation.leaderboard import leaderboard
from fxgpt_core.evaluation.result import Coverage, Estimate, Evaluation, FamilyScores, PooledScores, Skill

SURE = 0.002


def family(name: str, skill: float, spread: float, in_set: bool = True, flag: str = "") -> FamilyScores:
    point = Estimate(0.9, 0.88, 0.92)
    return FamilyScores(
        family=name,
        baseline=name == "ewma",
        horizon=60,
        rows=1000,
        effective_rows=400.0,
        crps=Estimate(1e-3, 9e-4, 1.1e-3),
        raw_crps=1e-3,
        skills=(),
        best=None if name == "ewma" else Skill("ewma", skill, skill - spread, skill + spread, 0.2),
        coverage=(Coverage(0.9, point, point, 1e-3, 1e-3),),
        raw_pit_ks=0.01,
        pit_ks=0.01,
        pit_p=0.5,
        direction=None,
        direction_rows=0,
        rmse=1e-3,
        mae=1e-3,
        flags=(flag,) if flag else (),
        in_confidence_set=in_set,
    )


def evaluation(symbol: str, skills: dict[str, float], spread: float = SURE, flag: str = "") -> Evaluation:
    skills = {"ewma": 0.0, **skills}
    return Evaluation(
        symbol=symbol,
        families=tuple(skills),
        baselines=("ewma",),
        horizons=(60,),
        weights=(1.0,),
        start="2024-01-01T00:00",
        end="2024-02-01T00:00",
        rows=1000,
        confidence=0.95,
        scores=tuple(family(name, skill, spread, flag=flag if skill > 0.05 else "") for name, skill in skills.items()),
        pooled=tuple(
            PooledScores(
                name, name == "ewma", 1 - skill, Estimate(skill, skill - spread, skill + spread), 0.2, 1000, 400.0
            )
            for name, skill in skills.items()
        ),
    )


def test_families_are_ranked_by_their_mean_rank_over_pairs() -> None:
    board = leaderboard(
        [evaluation("EURUSD", {"ridge": 0.004, "sssd": -0.01}), evaluation("GBPUSD", {"ridge": 0.006, "sssd": 0.001})],
        {},
    )
    assert [standing.family for standing in board.standings] == ["ridge", "ewma", "sssd"]  # equal rank, more skill
    ridge, ewma, sssd = board.standings
    assert (ridge.rank, sssd.rank, ewma.rank) == (1.0, 2.5, 2.5)
    assert ridge.skill == pytest.approx(0.005)
    assert ridge.deviation == pytest.approx(0.002 / 2**0.5)
    assert [entry.family for entry in board.of("EURUSD")] == ["ridge", "ewma", "sssd"]


def test_only_confidence_intervals_that_exclude_zero_count_as_better_or_worse() -> None:
    board = leaderboard(
        [
            evaluation("EURUSD", {"ridge": 0.004}),
            evaluation("GBPUSD", {"ridge": 0.001}),
            evaluation("USDJPY", {"ridge": -0.01}),
        ],
        {"EURUSD": "ridge", "GBPUSD": "ewma"},
    )
    ridge = next(standing for standing in board.standings if standing.family == "ridge")
    assert (ridge.better, ridge.worse, ridge.pairs, ridge.champions) == (1, 1, 3, 1)


def test_a_pair_without_a_family_does_not_count_for_it() -> None:
    board = leaderboard([evaluation("EURUSD", {"ridge": 0.004}), evaluation("GBPUSD", {"sssd": 0.001})], {})
    pairs = {standing.family: standing.pairs for standing in board.standings}
    assert pairs == {"ridge": 1, "sssd": 1, "ewma": 2}
    ridge = next(standing for standing in board.standings if standing.family == "ridge")
    assert ridge.deviation is None


def test_alarms_and_outdated_pairs_are_told() -> None:
    board = leaderboard([evaluation("EURUSD", {"ridge": 0.2}, flag="suspect leakage")], {}, stale=["EURUSD"])
    assert board.standings[0].alarms == 1
    assert board.of("EURUSD")[0].alarms == ("suspect leakage",)
    assert all(entry.stale for entry in board.of("EURUSD"))
    json.dumps(board.to_dict(), allow_nan=False)
    said = {("EURUSD", "ridge"): ("suspect leakage (acknowledged, a pegged currency)",)}
    board = leaderboard([evaluation("EURUSD", {"ridge": 0.2}, flag="suspect leakage")], {}, alarms=said)
    assert board.of("EURUSD")[0].alarms == said["EURUSD", "ridge"]


def test_no_evaluation_gives_an_empty_board() -> None:
    board = leaderboard([], {})
    assert board.standings == ()
    assert board.symbols == ()
