"""`Database`: sessions on the operational database, SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    StatementError,
)
from sqlalchemy.orm import Session

from fxgpt_core.common.errors import ConfigError, StoreError

BUSY_SECONDS = 30
"""How long a writer waits for another one on SQLite."""

_READ_ONLY = "fxgpt_read_only"
# PostgreSQL calls a read-only server an internal error, and psycopg a connection that was cut one of the interface.
_REFUSED = (OperationalError, ProgrammingError, InternalError, InterfaceError)


def parse_url(url: str) -> URL:
    """Return the URL of a supported database; raises ConfigError, which never shows the password.

    A bare `postgresql://` means psycopg 3. SQLite must be a file: a database in memory would be empty elsewhere.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError("FXGPT_DATABASE_URL is not a URL such as postgresql+psycopg://user@host/name.") from error
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ConfigError(f"Database {parsed.render_as_string()}: use sqlite:///FILE or postgresql+psycopg://….")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError("Database sqlite:// has no file: write sqlite:///path/to/fxgpt.db.")
    return parsed


def sqlite_file(url: URL) -> Path:
    """Return the file of a SQLite database, also where the URL names it as SQLite's own URI (`file:…?mode=ro`)."""
    return Path(str(url.database).removeprefix("file:"))


def make_engine(url: str, foreign_keys: bool = True) -> Engine:
    """Return an engine; `foreign_keys=False` is for migrations, which rebuild tables on SQLite."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(parsed, pool_pre_ping=True, json_serializer=_to_json)
    engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS}, json_serializer=_to_json)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        # The driver's own transactions would leave DDL and the first SELECT outside; BEGIN is sent below instead.
        connection.isolation_level = None
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A transaction that reads first and writes later fails at once when another wrote in between; taking the
        # write lock from the start makes it wait its turn.
        reading = connection.get_execution_options().get(_READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


class Database:
    """The operational database at `url`, migrated by `store.migrate.upgrade`.

    Safe to share between threads; opens its engine at the first use.
    """

    def __init__(self, url: str) -> None:
        self.url = parse_url(url)
        self._text = url

    @cached_property
    def engine(self) -> Engine:
        return make_engine(self._text)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session that commits at the end, or rolls back when an error leaves the block.

        Raises StoreError when the database is unreachable, locked, read-only or not migrated.
        """
        with self._session(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session for queries, which on SQLite never waits for a writer."""
        with self._session(self.engine.execution_options(**{_READ_ONLY: True})) as session:
            yield session

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        try:
            with Session(engine, expire_on_commit=False) as session:
                yield session
        except DBAPIError as error:
            raise self.explain(error) from error
        except StatementError as error:
            if isinstance(error.orig, StoreError):
                raise error.orig from None  # a value that our own column types refuse
            raise

    def explain(self, error: DBAPIError) -> Exception:
        """Return a StoreError in words for what the database refused; a broken constraint stays what it is."""
        if not isinstance(error, _REFUSED):
            return error
        reason = " ".join(str(error.orig).split())
        where = self.url.render_as_string()
        if "no such table" in reason or "UndefinedTable" in type(error.orig).__name__:
            return StoreError(f"Database {where} is not migrated: run any writing verb, such as `fxgpt demo`, once.")
        return StoreError(f"Database {where} cannot be used: {reason}.")

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        self.engine.dispose()


def _to_json(value: Any) -> str:
    """Return JSON as the standard and PostgreSQL have it, which know neither NaN nor infinity: these become null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
