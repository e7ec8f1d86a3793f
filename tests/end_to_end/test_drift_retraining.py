"""The running daemon: the market changes, drift sets in, one retraining follows and its best candidate is shadow."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import pytest
from dagster import DagsterRunStatus, RunsFilter

from fxgpt_core.lifecycle.registry import CHAMPION, SHADOW
from fxgpt_core.store.paths import CHECKOUT
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.runs import RETRAIN_JOB
from tests.pipeline.small_home import SYMBOL, SmallHome, later_bars, write_csv

pytestmark = [pytest.mark.services, pytest.mark.timeout(1500)]
SENSOR = "drift_retraining"
PATIENCE = 600.0
_T = TypeVar("_T")


@pytest.fixture
def daemon(clone: SmallHome, tmp_path: Path) -> Iterator[SmallHome]:
    """A materialised home with a daemon that looks for verdicts every five seconds; its log is shown at the end."""
    clone.configure(
        "pipeline.yaml", {"automation": {"verdict_interval_seconds": 5}, "retraining": {"cooldown_hours": 0}}
    )
    log = tmp_path / "daemon.log"
    command = [str(Path(sys.executable).parent / "dagster-daemon"), "run", "-w", str(CHECKOUT / "workspace.yaml")]
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            env=clone.subprocess_environment(),
            cwd=tmp_path,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield clone
        assert process.poll() is None, f"the daemon ended by itself with code {process.returncode}"
    finally:
        stop(process)
        print(log.read_text()[-20_000:])


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the daemon, its code server and the runs that it started, whatever state they are in."""
    family = []
    if process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()


def wait_for(what: str, look: Callable[[], _T | None], patience: float = PATIENCE) -> _T:
    """Poll until `look` returns something."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {patience:g} s")


def retrainings(home: SmallHome) -> list[Any]:
    """Every retraining run, and whatever else may have become of one."""
    with home.instance() as instance:
        return list(instance.get_runs(RunsFilter(job_name=RETRAIN_JOB)))


def ticks(home: SmallHome) -> int:
    """How often the drift sensor has looked so far, without error."""
    with home.instance() as instance:
        (state,) = [s for s in instance.all_instigator_state() if s.origin.instigator_name == SENSOR] or [None]
        if state is None:
            return 0
        found = instance.get_ticks(state.instigator_origin_id, state.selector_id)
        errors = [tick.error.message for tick in found if tick.error is not None]
        assert not errors, errors
        return sum(tick.status.value in ("SUCCESS", "SKIPPED") for tick in found)


def test_onset_of_drift_leads_to_exactly_one_retraining(daemon: SmallHome, tmp_path: Path) -> None:
    registry = daemon.lineage().workspace.registry
    champion = registry.holder(SYMBOL, CHAMPION)
    assert champion is not None
    assert registry.holder(SYMBOL, SHADOW) is None
    verdict = daemon.lineage().workspace.documents.read("drift", SYMBOL)["verdict"]
    assert not verdict["drifted"]
    wait_for("the first look of the sensor", lambda: ticks(daemon))
    assert retrainings(daemon) == [], "nothing has happened yet"

    path = write_csv(later_bars(240, volatility=0.24), tmp_path / f"{SYMBOL}_1h.csv")
    assert run(["import", str(path), "--side", "mid", "--tz", "UTC"]) == 0
    assert run(["materialize", "market/candles,features/*,monitoring/drift", "--symbol", SYMBOL]) == 0
    verdict = daemon.lineage().workspace.documents.read("drift", SYMBOL)["verdict"]
    assert verdict["onset"]

    def ended() -> list[Any]:
        return [found for found in retrainings(daemon) if found.is_finished]

    (retraining,) = wait_for("a retraining that has ended", ended)
    assert retraining.status == DagsterRunStatus.SUCCESS
    assert retraining.tags["dagster/partition"] == SYMBOL
    assert verdict["window_end"] in retraining.tags["dagster/run_key"]

    shadow = registry.holder(SYMBOL, SHADOW)
    assert shadow is not None, "the best candidate enters as shadow"
    assert np.datetime64(shadow.tags["trained_until"]) > np.datetime64(champion.tags["trained_until"])
    assert shadow.tags["dagster_run"] == retraining.run_id
    still = registry.holder(SYMBOL, CHAMPION)
    assert still is not None
    assert still.version == champion.version

    # The retraining brought new features, after which `fresh_features` lets drift be judged again: the same window, the
    # same onset, and no reason for a second retraining.
    assert run(["materialize", "monitoring/drift", "--symbol", SYMBOL, "--force"]) == 0
    again = daemon.lineage().workspace.documents.read("drift", SYMBOL)["verdict"]
    assert (again["onset"], again["window_end"]) == (True, verdict["window_end"])
    looked = ticks(daemon)
    wait_for("two more looks of the sensor", lambda: ticks(daemon) >= looked + 2, 60)
    assert [found.run_id for found in retrainings(daemon)] == [retraining.run_id]
