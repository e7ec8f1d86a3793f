"""One at a time over the operational database, on both kinds of server, also after a holder was killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event

import pytest

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.database import Database
from fxgpt_core.store.exclusive import exclusively


def hold_and_die(url: str, held: Event, told: Event) -> None:
    with exclusively(Database(url), "promotion-EURUSD"):
        held.set()
        told.wait(300)
        os.kill(os.getpid(), signal.SIGKILL)


def test_who_comes_second_waits_and_then_says_for_what(database: Database, url: str) -> None:
    other = Database(url)
    with exclusively(database, "promotion-EURUSD"):
        with pytest.raises(StoreError, match=r"Waited 0\.05 s for promotion-EURUSD"):
            exclusively(other, "promotion-EURUSD", seconds=0.05).__enter__()
        with exclusively(other, "promotion-GBPUSD", seconds=0.05):
            pass
    with exclusively(other, "promotion-EURUSD", seconds=0.05):
        pass
    other.close()


def test_an_error_inside_frees_it_and_stays_what_it_is(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), exclusively(database, "x"):
        raise ZeroDivisionError
    with exclusively(database, "x", seconds=0.05):
        pass


def test_a_killed_holder_holds_nothing(database: Database, url: str) -> None:
    context = multiprocessing.get_context("forkserver")
    held, told = context.Event(), context.Event()
    child = context.Process(target=hold_and_die, args=(url, held, told))
    child.start()
    assert held.wait(300)
    with pytest.raises(StoreError, match="another process"):
        exclusively(database, "promotion-EURUSD", seconds=0.05).__enter__()
    told.set()
    child.join(300)
    assert child.exitcode == -signal.SIGKILL
    with exclusively(database, "promotion-EURUSD", seconds=60):
        pass
