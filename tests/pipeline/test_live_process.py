"""`fxgpt live` as a process: killed in the middle of a backlog, stopped by a signal, started twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import func, select

from fxgpt_core.store.database import Database
from fxgpt_core.store.models import LiveForecast
from tests.pipeline.small_home import SYMBOL, SmallHome, later_bars

BARS = 60
WAIT = 240.0


@pytest.fixture
def database(clone: SmallHome) -> Iterator[Database]:
    """The database of a home with a backlog of bars."""
    clone.configure("pipeline.yaml", {"live": {"backfill_hours": 8000}})
    made = Database(clone.home.database_url)
    yield made
    made.close()


def start(home: SmallHome, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fxgpt_pipeline.cli.main", "live", "--every", "0.5", *options]
    return subprocess.Popen(
        command, env=home.subprocess_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def decisions(database: Database) -> int:
    with database.reading() as session:
        return int(session.scalar(select(func.count(func.distinct(LiveForecast.decided_at)))) or 0)


def rows(database: Database) -> int:
    with database.reading() as session:
        return int(session.scalar(select(func.count(LiveForecast.id))) or 0)


def until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + WAIT
    while not reached():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@pytest.mark.deep
def test_killed_in_a_backlog_it_carries_on_and_a_signal_ends_it(clone: SmallHome, database: Database) -> None:
    with start(clone) as first:
        until(lambda: decisions(database) == 1, first)  # before its first decision it owes the newest bar alone
        first.send_signal(signal.SIGTERM)
        assert first.wait(WAIT) == 0
    clone.bring(later_bars(BARS))
    with start(clone) as second:
        until(lambda: decisions(database) > 10, second)
        second.kill()
    left = decisions(database)
    assert left < BARS + 1
    with start(clone) as third:
        until(lambda: decisions(database) > left, third)
        with start(clone, "--once") as other:
            said, _ = other.communicate(timeout=WAIT)
            assert f"Another live loop works on {SYMBOL}" in said
            assert other.returncode == 1
        until(lambda: decisions(database) == BARS + 1, third)
        third.send_signal(signal.SIGINT)
        assert third.wait(WAIT) == 0
    assert rows(database) == 2 * (BARS + 1)
