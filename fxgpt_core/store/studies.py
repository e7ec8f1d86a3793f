"""Searches and their trials in the operational database: an interrupted one goes on, a finished one answers from here.

A study is found by symbol and name, a trial by the hash of its parameters: nothing is tried twice, whoever asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any, Literal

from sqlalchemy import select, update

from fxgpt_core.common.errors import BadInputError, StoreError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import StudyRow, StudyTrialRow
from fxgpt_core.store.rows import insert_once

Direction = Literal["minimize", "maximize"]
TrialStatus = Literal["done", "pruned", "failed"]
_ERROR = 4000


@dataclass(frozen=True)
class Study:
    """What is searched: `space` as JSON (parameter -> its range), `directions` by name of the objective."""

    symbol: str
    name: str
    kind: str
    space: Mapping[str, Any]
    directions: Mapping[str, Direction]


@dataclass(frozen=True)
class StudyTrial:
    """One set of parameters and what came of it: `objectives` by name; none where it was pruned or failed."""

    parameters: Mapping[str, Any]
    status: TrialStatus
    at: datetime
    seconds: float
    objectives: Mapping[str, float] = field(default_factory=dict)
    error: str = ""

    @property
    def key(self) -> str:
        """Hash of the parameters."""
        return trial_key(self.parameters)


def trial_key(parameters: Mapping[str, Any]) -> str:
    """Return the hash by which a set of parameters is found again."""
    return stable_hash(dict(parameters))


def open_study(database: Database, study: Study, at: datetime) -> StudyRow:
    """Return the study's row, made at `at` where there is none, running again where it had failed.

    Raises StoreError where another space or other objectives are stored under its name: their trials do not compare.
    """
    values = {
        "symbol": study.symbol,
        "name": study.name,
        "kind": study.kind,
        "space": dict(study.space),
        "directions": dict(study.directions),
        "started_at": at,
        "ended_at": None,
        "status": "running",
    }
    with database.session() as session:
        row, _ = insert_once(session, StudyRow, values, ("symbol", "name"))
        if stable_hash([row.kind, row.space, row.directions]) != stable_hash(
            [study.kind, values["space"], values["directions"]]
        ):
            raise StoreError(
                f"The study {study.name} of {study.symbol} searches another space or for something else: give this one "
                "another name."
            )
        if row.status == "failed":
            row.status, row.ended_at = "running", None
        return row


def end_study(database: Database, symbol: str, name: str, status: Literal["done", "failed"], at: datetime) -> None:
    """Record that a study has ended; raises StoreError where there is none."""
    change = update(StudyRow).where(StudyRow.symbol == symbol, StudyRow.name == name)
    with database.session() as session:
        if session.scalar(change.values(status=status, ended_at=at).returning(StudyRow.id)) is None:
            raise StoreError(f"There is no study {name} of {symbol} that could be {status}.")


def record_study_trial(database: Database, study: StudyRow, trial: StudyTrial) -> bool:
    """Record a trial; False where these parameters have been tried in this study.

    Raises BadInputError where a finished trial lacks an objective or has one that is no finite number.
    """
    if trial.status == "done":
        named = {name: trial.objectives.get(name) for name in study.directions}
        wrong = [name for name, value in named.items() if value is None or not isfinite(value)]
        if wrong or len(trial.objectives) != len(named):
            raise BadInputError(
                f"A trial of {study.name} for {study.symbol} gives {dict(trial.objectives)}; needed is a finite number "
                f"for each of {', '.join(study.directions)}."
            )
    values = {
        "study_id": study.id,
        "key": trial.key,
        "parameters": dict(trial.parameters),
        "objectives": {name: float(value) for name, value in trial.objectives.items()} or None,
        "status": trial.status,
        "error": trial.error[:_ERROR],
        "seconds": trial.seconds,
        "at": trial.at,
    }
    with database.session() as session:
        return insert_once(session, StudyTrialRow, values, ("study_id", "key"))[1]


def study_trials(database: Database, study: StudyRow) -> list[StudyTrial]:
    """Return a study's trials in the order in which they were recorded."""
    mine = select(StudyTrialRow).where(StudyTrialRow.study_id == study.id).order_by(StudyTrialRow.id)
    with database.reading() as session:
        return [
            StudyTrial(row.parameters, row.status, row.at, row.seconds, row.objectives or {}, row.error)  # type: ignore[arg-type]
            for row in session.scalars(mine)
        ]


def best_trial(database: Database, study: StudyRow, objective: str) -> StudyTrial | None:
    """Return the finished trial with the best value of one objective, the earlier of equals; None without any.

    Raises BadInputError for an objective that the study does not have.
    """
    if objective not in study.directions:
        raise BadInputError(
            f"The study {study.name} of {study.symbol} has no objective {objective!r}: it has "
            f"{', '.join(study.directions)}."
        )
    done = [trial for trial in study_trials(database, study) if trial.status == "done"]
    sign = 1.0 if study.directions[objective] == "minimize" else -1.0
    return min(done, key=lambda trial: sign * trial.objectives[objective], default=None)


def studies_of(database: Database, symbol: str, limit: int = 20) -> list[StudyRow]:
    """Return the newest studies of `symbol`, newest first."""
    newest = select(StudyRow).where(StudyRow.symbol == symbol).order_by(StudyRow.started_at.desc(), StudyRow.id.desc())
    with database.reading() as session:
        return list(session.scalars(newest.limit(limit)))
