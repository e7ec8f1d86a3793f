"""`exclusively`: one process at a time, wherever it runs that shares the operational database.

The system or the server frees the lock of a process that dies, so no kill can leave one behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.database import Database, sqlite_file


@contextmanager
def exclusively(database: Database, what: str, seconds: float = 120.0) -> Iterator[None]:
    """Hold `what` (a name such as `promotion-EURUSD`) until the block ends; not reentrant.

    On SQLite a file lock beside the database, on PostgreSQL an advisory lock of a connection. Waits up to `seconds`.
    Raises StoreError where another process holds it longer, or the database cannot be reached.
    """
    if database.url.get_backend_name() == "postgresql":
        with _advisory(database, what, seconds):
            yield
        return
    path = sqlite_file(database.url)
    lock = FileLock(path.with_name(f"{path.name}.{what}.lock"), timeout=seconds)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise _taken(what, seconds) from error
    except OSError as error:
        raise StoreError(f"Database {database.url.render_as_string()} cannot be locked for {what}: {error}.") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _advisory(database: Database, what: str, seconds: float) -> Iterator[None]:
    key = {"key": int.from_bytes(hashlib.sha256(f"fxgpt:{what}".encode()).digest()[:8], "big", signed=True)}
    try:
        connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    except DBAPIError as error:
        raise database.explain(error) from error
    with connection:
        try:
            # A server reads 0 as: wait for ever.
            connection.execute(text(f"SET lock_timeout = {max(1, round(seconds * 1000))}"))
            connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
        except DBAPIError as error:
            connection.invalidate()
            if type(error.orig).__name__ == "LockNotAvailable":
                raise _taken(what, seconds) from error
            raise database.explain(error) from error
        try:
            yield
        finally:
            # Closed for good rather than returned to the pool: with the connection goes the lock, whatever happened.
            connection.invalidate()


def _taken(what: str, seconds: float) -> StoreError:
    return StoreError(f"Waited {seconds:g} s for {what}: another process is at it; try again when it has finished.")
