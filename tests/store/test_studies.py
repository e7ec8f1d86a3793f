"""Searches go on where they were interrupted, and a finished one answers from what is stored."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fxgpt_core.common.errors import BadInputError, StoreError
from fxgpt_core.store.database import Database
from fxgpt_core.store.studies import (
    Study,
    StudyTrial,
    best_trial,
    end_study,
    open_study,
    record_study_trial,
    studies_of,
    study_trials,
)

NOON = datetime(2024, 3, 8, 12, tzinfo=UTC)
STUDY = Study("EURUSD", "stops", "strategy", {"stop": [0.01, 0.05]}, {"sharpe": "maximize", "drawdown": "minimize"})


def trial(stop: float, sharpe: float = 1.0, **changes: Any) -> StudyTrial:
    made = StudyTrial({"stop": stop}, "done", NOON, 2.5, {"sharpe": sharpe, "drawdown": stop})
    return replace(made, **changes)


def test_an_interrupted_study_goes_on_and_tries_nothing_twice(database: Database) -> None:
    study = open_study(database, STUDY, NOON)
    assert record_study_trial(database, study, trial(0.01))
    assert record_study_trial(database, study, trial(0.02, status="pruned", objectives={}))
    again = open_study(database, STUDY, NOON + timedelta(days=1))  # another process
    assert (again.id, again.started_at, again.status) == (study.id, NOON, "running")
    assert not record_study_trial(database, again, trial(0.01, sharpe=9.0))
    assert record_study_trial(database, again, trial(0.03, status="failed", objectives={}, error="no bars"))
    found = study_trials(database, again)
    assert [(one.parameters["stop"], one.status) for one in found] == [
        (0.01, "done"),
        (0.02, "pruned"),
        (0.03, "failed"),
    ]
    assert (found[0].objectives["sharpe"], found[2].error, found[1].objectives) == (1.0, "no bars", {})


def test_the_best_trial_is_that_of_its_direction(database: Database) -> None:
    study = open_study(database, STUDY, NOON)
    assert best_trial(database, study, "sharpe") is None
    for stop, sharpe in ((0.03, 1.0), (0.01, 0.5), (0.02, 1.0)):
        record_study_trial(database, study, trial(stop, sharpe))
    record_study_trial(database, study, trial(0.001, 99.0, status="pruned"))
    best = [best_trial(database, study, name) for name in ("sharpe", "drawdown")]
    assert [one.parameters["stop"] for one in best if one is not None] == [0.03, 0.01]
    with pytest.raises(BadInputError, match=r"no objective 'profit'"):
        best_trial(database, study, "profit")


def test_a_name_stands_for_one_search(database: Database) -> None:
    open_study(database, STUDY, NOON)
    for changed in ({"space": {"stop": [0.01, 0.1]}}, {"directions": {"sharpe": "maximize"}}, {"kind": "training"}):
        with pytest.raises(StoreError, match=r"another name"):
            open_study(database, replace(STUDY, **changed), NOON)  # type: ignore[arg-type]
    assert open_study(database, replace(STUDY, symbol="GBPUSD"), NOON).symbol == "GBPUSD"


def test_a_study_ends_and_a_failed_one_is_taken_up_again(database: Database) -> None:
    open_study(database, STUDY, NOON)
    end_study(database, "EURUSD", "stops", "failed", NOON + timedelta(hours=1))
    assert open_study(database, STUDY, NOON).status == "running"
    end_study(database, "EURUSD", "stops", "done", NOON + timedelta(hours=2))
    found = open_study(database, STUDY, NOON + timedelta(days=1))
    assert (found.status, found.ended_at) == ("done", NOON + timedelta(hours=2))
    open_study(database, replace(STUDY, name="later"), NOON + timedelta(days=2))
    assert [one.name for one in studies_of(database, "EURUSD")] == ["later", "stops"]
    with pytest.raises(StoreError, match=r"no study other of EURUSD"):
        end_study(database, "EURUSD", "other", "done", NOON)


@pytest.mark.parametrize("objectives", [{"sharpe": 1.0}, {"sharpe": float("nan"), "drawdown": 0.1}, {}])
def test_a_finished_trial_has_all_its_objectives(database: Database, objectives: dict[str, float]) -> None:
    study = open_study(database, STUDY, NOON)
    with pytest.raises(BadInputError, match=r"finite number for each of sharpe, drawdown"):
        record_study_trial(database, study, trial(0.01, objectives=objectives))
    assert study_trials(database, study) == []


def test_workers_that_try_the_same_record_it_once(database: Database) -> None:
    study = open_study(database, STUDY, NOON)
    made: list[bool] = []

    def work() -> None:
        made.extend(record_study_trial(database, study, trial(stop / 100)) for stop in range(1, 6))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(made) == len(study_trials(database, study)) == 5
