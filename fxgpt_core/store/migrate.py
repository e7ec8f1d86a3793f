"""Migrations of the operational database by Alembic, run from code: no `alembic.ini`, no working directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.database import Database, make_engine, sqlite_file
from fxgpt_core.store.paths import CHECKOUT

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPTS = CHECKOUT / "migrations"
VERSION_TABLE = "fxgpt_alembic_version"
LOCK_SECONDS = 120

_ADVISORY_KEY = 0x6678677074  # "fxgpt": any constant that other applications in the database do not use


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database to `revision`; creates it where SQLite has no file yet.

    Two processes may call this together: one works, the other waits and finds it done. A failed migration leaves the
    database as it was. Raises StoreError when the database cannot be reached or written.
    """
    from alembic import command

    with _locked(url) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to `revision` (`base` drops every table of ours)."""
    from alembic import command

    with _locked(url) as connection:
        command.downgrade(_config(connection), revision)


def current(url: str) -> str | None:
    """Return the revision of the database, None where it was never migrated; creates nothing."""
    from alembic.migration import MigrationContext

    database = Database(url)
    if database.url.get_backend_name() == "sqlite" and not sqlite_file(database.url).exists():
        return None
    try:
        with database.engine.connect() as connection:
            return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    except DBAPIError as error:
        raise database.explain(error) from error
    finally:
        database.close()


def head() -> str:
    """Return the newest revision that the code knows."""
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory(str(SCRIPTS)).get_current_head())


def knows(revision: str) -> bool:
    """Return whether the code has this revision; a database written by a newer version has one that it lacks."""
    from alembic.script import ScriptDirectory

    return revision in {script.revision for script in ScriptDirectory(str(SCRIPTS)).walk_revisions()}


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _locked(url: str) -> Iterator[Connection]:
    """Yield a connection in one transaction that no other migration shares."""
    database = Database(url)
    engine = make_engine(url, foreign_keys=False)
    try:
        if engine.dialect.name != "sqlite":
            with engine.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
                yield connection
            return
        path = sqlite_file(database.url)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".migrate.lock"), timeout=LOCK_SECONDS):
            # Write-ahead logging is a property of the file; switching it under the lock needs no retry.
            raw = engine.raw_connection()
            raw.cursor().execute("PRAGMA journal_mode = WAL")
            raw.close()
            with engine.begin() as connection:
                yield connection
                if connection.execute(text("PRAGMA foreign_key_check")).first() is not None:
                    raise StoreError(f"Database {path}: a migration would break a foreign key; nothing was changed.")
    except DBAPIError as error:
        raise database.explain(error) from error
    except Timeout as error:
        raise StoreError(f"Database {url}: another migration has held the lock for {LOCK_SECONDS} s.") from error
    except OSError as error:
        raise StoreError(f"Database {database.url.render_as_string()} cannot be created: {error}.") from error
    finally:
        engine.dispose()
