"""Migrations on SQLite and on real PostgreSQL: up, down, equal to the models, safe together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from fxgpt_core.common.errors import ConfigError, StoreError
from fxgpt_core.store.database import Database, make_engine
from fxgpt_core.store.migrate import VERSION_TABLE, current, downgrade, head, upgrade
from fxgpt_core.store.models import Base


def tables(url: str) -> set[str]:
    engine = make_engine(url)
    with engine.connect() as connection:
        names = set(sa.inspect(connection).get_table_names())
    engine.dispose()
    return names


def test_up_down_up(url: str) -> None:
    assert current(url) is None
    upgrade(url)
    assert current(url) == head()
    assert tables(url) == {*Base.metadata.tables, VERSION_TABLE}
    upgrade(url)  # done already: nothing to do
    downgrade(url, "base")
    assert current(url) is None
    assert tables(url) == {VERSION_TABLE}
    upgrade(url)
    assert current(url) == head()


def test_schema_equals_the_models(url: str) -> None:
    upgrade(url)
    engine = make_engine(url)
    with engine.connect() as connection:
        options = {"compare_type": True, "version_table": VERSION_TABLE}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []
        inspector = sa.inspect(connection)
        for name, table in Base.metadata.tables.items():
            wanted = {check.name for check in table.constraints if isinstance(check, sa.CheckConstraint)}
            assert {check["name"] for check in inspector.get_check_constraints(name)} == wanted
            foreign = {key.name: key.ondelete for key in table.foreign_key_constraints}
            found = {key["name"]: key["options"].get("ondelete") for key in inspector.get_foreign_keys(name)}
            assert found == foreign
    engine.dispose()


def test_trainings_of_before_know_their_pair_and_trainings_without_a_version_go_back_to_nothing(url: str) -> None:
    upgrade(url, "0005")
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO models (id, symbol, family, mlflow_version, trained_until, config) "
                "VALUES (1, 'EURUSD', 'ridge', '3', '2024-03-08 11:00:00', '{}')"
            )
        )
        connection.execute(
            sa.text(
                "INSERT INTO training_runs (id, model_id, dagster_run_id, started_at, seconds) "
                "VALUES (1, 1, 'run', '2024-03-08 12:00:00', 2.5)"
            )
        )
    upgrade(url)
    columns = "symbol, family, name, status, seconds"
    with engine.begin() as connection:
        found = connection.execute(sa.text(f"SELECT {columns} FROM training_runs")).all()
        assert found == [("EURUSD", "ridge", "version 3", "done", 2.5)]
        connection.execute(
            sa.text(
                "INSERT INTO training_runs (id, dagster_run_id, started_at, seconds, symbol, family, name, status) "
                "VALUES (2, '', '2024-03-08 12:00:00', 0, 'EURUSD', 'sssd', 'f', 'failed')"
            )
        )
    downgrade(url, "0005")
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT id, model_id, seconds FROM training_runs")).all() == [(1, 1, 2.5)]
    engine.dispose()


def test_forecasts_of_before_stay_when_their_table_learns_more_and_forgets_it(url: str) -> None:
    upgrade(url, "0006")
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO models (id, symbol, family, mlflow_version, trained_until, config) "
                "VALUES (1, 'EURUSD', 'ridge', '3', '2024-03-08 11:00:00', '{}')"
            )
        )
        connection.execute(
            sa.text(
                "INSERT INTO forecasts (id, model_id, decided_at, made_at, horizon, mean, std, quantiles, latency_ms) "
                "VALUES (1, 1, '2024-03-08 12:00:00', '2024-03-08 12:00:01', 60, 0.1, 0.2, '{}', 2.5)"
            )
        )
    upgrade(url)
    with engine.begin() as connection:
        found = connection.execute(sa.text("SELECT mean, timeframe, device, batch, context FROM forecasts")).one()
        assert tuple(found)[:4] == (0.1, "", "", 1)
        assert found.context in ("{}", {})
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
            connection.execute(sa.text("UPDATE forecasts SET batch = 0"))
    downgrade(url, "0006")
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT id, horizon, mean FROM forecasts")).all() == [(1, 60, 0.1)]
    engine.dispose()


def test_foreign_alembic_tables_are_left_alone(url: str) -> None:
    engine = make_engine(url)
    Path(engine.url.database or "").parent.mkdir(parents=True, exist_ok=True) if "sqlite" in url else None
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('of another application')"))
    upgrade(url)
    downgrade(url, "base")
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "of another application"
    engine.dispose()


def test_failed_migration_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    def fail(*_args: object, **_options: object) -> None:
        raise StoreError("the power went out")

    # The first table is made, its index is not.
    monkeypatch.setattr(op, "create_index", fail)
    with pytest.raises(StoreError, match="power"):
        upgrade(url)
    assert "models" not in tables(url)
    monkeypatch.undo()
    upgrade(url)
    assert current(url) == head()


def test_processes_that_migrate_together_all_succeed(url: str) -> None:
    code = f"from fxgpt_core.store.migrate import upgrade; upgrade({url!r})"
    children = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(3)]
    results = [(child.communicate(timeout=300)[1].decode(), child.returncode) for child in children]
    assert [code for _, code in results] == [0, 0, 0], results
    assert current(url) == head()


def test_sqlite_writes_ahead_and_current_creates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "fxgpt.db"
    assert current(f"sqlite:///{path}") is None
    assert not path.exists()
    upgrade(f"sqlite:///{path}")
    with Database(f"sqlite:///{path}").engine.connect() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("nonsense", "not a URL"),
        ("mysql://root:secret@host/db", "use sqlite:///FILE or postgresql"),
        ("sqlite://", "has no file"),
    ],
)
def test_unusable_urls_are_refused_without_the_password(url: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        upgrade(url)
    assert part in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.services
def test_unreachable_server_is_a_sentence() -> None:
    with pytest.raises(StoreError, match=r"postgresql.*\*\*\*.*cannot be used") as caught:
        upgrade("postgresql://someone:secret@127.0.0.1:1/fxgpt")
    assert "secret" not in str(caught.value)


def test_a_file_named_by_sqlites_own_uri_is_found_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "home" / "fxgpt.db"
    upgrade(f"sqlite:///{path}")
    assert current(f"sqlite:///file:{path}?mode=ro&uri=true") == head()
    upgrade(f"sqlite:///file:{path}?uri=true")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["home"]
