"""`StateStore`: state that changes while a model version serves, beside the version that never changes.

The corrections of adaptive conformal calibration, online drift detectors and streaming encoders learn from every bar.
Each saved state is a row of its own, numbered without gaps and dated by what it knows (DESIGN, "Mutable state").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import StateRow
from fxgpt_core.store.rows import aware

_KEPT = 2
"""Newest states that are always kept; of older ones the last of each day (UTC), for replays and questions."""


@dataclass(frozen=True)
class SavedState:
    """A JSON-able state as it was saved: the `number`-th of its version, knowing everything up to `as_of` (UTC)."""

    number: int
    as_of: np.datetime64
    value: Mapping[str, Any]


class StateStore:
    """States of one owner (such as `calibrator`), symbol and model version in the operational database.

    A version is rolled back with its own state, which then catches up from its own `as_of`.
    """

    def __init__(self, database: Database, owner: str, symbol: str, version: str) -> None:
        self._database = database
        self._key = {"owner": owner, "symbol": symbol, "version": version}

    def latest(self, at: np.datetime64 | None = None) -> SavedState | None:
        """Return the newest state that knows nothing after `at`, None where there is none; `at` None: the newest."""
        query = select(StateRow).filter_by(**self._key)
        if at is not None:
            query = query.where(StateRow.as_of <= aware(at))
        with self._database.reading() as session:
            row = session.scalars(query.order_by(StateRow.number.desc()).limit(1)).first()
        return None if row is None else SavedState(row.number, to_datetime64(row.as_of), row.value)

    def save(self, value: Mapping[str, Any], as_of: np.datetime64, after: SavedState | None) -> bool:
        """Save the state that follows `after` (None: the first one), all or nothing; returns whether it was saved.

        False means that a state after that one is there already: another process was quicker, or `after` was not the
        newest. What is there stays. Raises StoreError where `as_of` lies before that of `after`.
        """
        if after is not None and as_of < after.as_of:
            raise StoreError(f"State of {self._key} cannot go back from {after.as_of} to {as_of}: use the older one.")
        number = 1 if after is None else after.number + 1
        values = {**self._key, "number": number, "as_of": aware(as_of), "value": dict(value)}
        with self._database.session() as session:
            # The lock holds off others until the end: numbers of states that were thinned out are not given again.
            newest = select(StateRow.number).filter_by(**self._key).order_by(StateRow.number.desc()).limit(1)
            if (session.scalar(newest.with_for_update()) or 0) != number - 1:
                return False
            dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
            adding = dialect.insert(StateRow).values(**values)
            adding = adding.on_conflict_do_nothing(index_elements=[*self._key, "number"])
            made = session.scalar(adding.returning(StateRow.id)) is not None
            if made:
                self._forget(session, number)
        return made

    def _forget(self, session: Session, newest: int) -> None:
        """Delete older states but the last of each day."""
        older = select(StateRow.id, StateRow.as_of).filter_by(**self._key).where(StateRow.number <= newest - _KEPT)
        rows = session.execute(older.order_by(StateRow.number)).all()
        last_of_day = {row.as_of.date(): row.id for row in rows}
        gone = [row.id for row in rows if last_of_day[row.as_of.date()] != row.id]
        if gone:
            session.execute(delete(StateRow).where(StateRow.id.in_(gone)))
