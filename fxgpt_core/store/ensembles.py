"""Ensemble weights in the operational database: the set that holds at a moment, and all that held before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from math import isfinite

from sqlalchemy import ColumnElement, func, select

from fxgpt_core.common.errors import BadInputError, StoreError
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import EnsembleWeight

Weights = Mapping[int, Mapping[str, float]]
"""Horizon in minutes -> member -> weight, none negative; what they add up to is the ensemble's affair."""


@dataclass(frozen=True)
class WeightSet:
    """The weights of an ensemble from `at` until the next set, and why they are so."""

    symbol: str
    ensemble: str
    at: datetime
    weights: Weights
    reasons: tuple[str, ...] = ()


def record_weights(database: Database, made: WeightSet) -> bool:
    """Record a set; False where that very set is recorded already.

    Raises BadInputError for a set without members or with a weight that is none, StoreError where another set is
    recorded for the same moment: what held is never rewritten.
    """
    if not made.weights or not all(made.weights.values()):
        raise BadInputError(f"Weights of {made.ensemble} for {made.symbol} name no member for some horizon.")
    flat = {(h, member): float(weight) for h, found in made.weights.items() for member, weight in found.items()}
    for (horizon, member), weight in flat.items():
        if not isfinite(weight) or weight < 0:
            raise BadInputError(
                f"The weight of {member} at {horizon} minutes in {made.ensemble} for {made.symbol} is {weight}: it "
                "must be a number from 0 on."
            )
    mine = _mine(made.symbol, made.ensemble)
    with database.session() as session:
        stored = list(session.scalars(select(EnsembleWeight).where(*mine, EnsembleWeight.at == made.at)))
        if stored:
            if {(row.horizon, row.member): row.weight for row in stored} != flat:
                raise StoreError(
                    f"Other weights of {made.ensemble} for {made.symbol} are recorded for {made.at:%Y-%m-%d %H:%M}: "
                    "record a change under its own time."
                )
            return False
        for (horizon, member), weight in flat.items():
            session.add(
                EnsembleWeight(
                    symbol=made.symbol, ensemble=made.ensemble, at=made.at, horizon=horizon, member=member,
                    weight=weight, reasons=list(made.reasons),
                )
            )  # fmt: skip
    return True


def weights_at(database: Database, symbol: str, ensemble: str, moment: datetime) -> WeightSet | None:
    """Return the set that holds at `moment`, None before the first one."""
    mine = _mine(symbol, ensemble)
    newest = select(func.max(EnsembleWeight.at)).where(*mine, EnsembleWeight.at <= moment).scalar_subquery()
    with database.reading() as session:
        rows = list(session.scalars(select(EnsembleWeight).where(*mine, EnsembleWeight.at == newest)))
    return _set(rows) if rows else None


def weight_history(database: Database, symbol: str, ensemble: str, since: datetime, until: datetime) -> list[WeightSet]:
    """Return the sets that began after `since` and up to `until`, oldest first."""
    inside = (*_mine(symbol, ensemble), EnsembleWeight.at > since, EnsembleWeight.at <= until)
    with database.reading() as session:
        rows = session.scalars(select(EnsembleWeight).where(*inside).order_by(EnsembleWeight.at, EnsembleWeight.id))
        return [_set(list(group)) for _, group in groupby(rows, key=lambda row: row.at)]


def _mine(symbol: str, ensemble: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return EnsembleWeight.symbol == symbol, EnsembleWeight.ensemble == ensemble


def _set(rows: Sequence[EnsembleWeight]) -> WeightSet:
    weights: dict[int, dict[str, float]] = {}
    for row in sorted(rows, key=lambda row: (row.horizon, row.id)):
        weights.setdefault(row.horizon, {})[row.member] = row.weight
    first = rows[0]
    return WeightSet(first.symbol, first.ensemble, first.at, weights, tuple(first.reasons))
