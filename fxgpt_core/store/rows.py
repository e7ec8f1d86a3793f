"""Writing single rows of the operational database so that a repeated or concurrent write changes nothing.

Times are aware datetimes, or datetime64 meaning UTC as in arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from fxgpt_core.store.models import Base

_Row = TypeVar("_Row", bound=Base)


def insert_once(session: Session, table: type[_Row], values: dict[str, Any], key: Sequence[str]) -> tuple[_Row, bool]:
    """Insert a row unless its key is there; return the row and whether it is new. Safe against a concurrent twin."""
    adding = _insert(session, table).values(**values).on_conflict_do_nothing(index_elements=list(key))
    made = session.scalar(adding.returning(table.id))  # type: ignore[attr-defined]
    found = select(table).where(*(getattr(table, name) == values[name] for name in key))
    return session.scalars(found).one(), made is not None


def upsert(
    session: Session,
    table: type[Base],
    values: dict[str, Any],
    key: Sequence[str],
    where: ColumnElement[bool] | None = None,
    only: Sequence[str] | None = None,
) -> None:
    """Insert a row, or change the one that has its key: all columns given, or `only` some, where `where` holds."""
    changed = {name: value for name, value in values.items() if name not in key and (only is None or name in only)}
    adding = _insert(session, table).values(**values)
    session.execute(adding.on_conflict_do_update(index_elements=list(key), set_=changed, where=where))


def _insert(session: Session, table: type[Base]) -> Any:
    """Return an INSERT that knows conflicts; SQLite and PostgreSQL each have their own."""
    return (sqlite if session.get_bind().dialect.name == "sqlite" else postgresql).insert(table)


def aware(moment: datetime | np.datetime64) -> datetime:
    """Return array time (UTC by convention) as an aware datetime; a naive datetime passes on and is refused."""
    if isinstance(moment, np.datetime64):
        made: datetime = moment.astype("datetime64[us]").astype(datetime)
        return made.replace(tzinfo=UTC)
    return moment
