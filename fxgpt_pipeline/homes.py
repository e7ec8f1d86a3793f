"""Getting the state directory ready: folders, Dagster home, MLflow store, operational database."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filelock import FileLock

from fxgpt_core.store.documents import write_atomically
from fxgpt_core.store.paths import CHECKOUT
from fxgpt_pipeline.stages import TRAINING_POOL
from fxgpt_pipeline.workspace import Workspace

if TYPE_CHECKING:
    from dagster import DagsterInstance


def prepare(workspace: Workspace) -> None:
    """Create and migrate everything under `FXGPT_HOME`; idempotent, safe when two processes start together.

    Sets `DAGSTER_HOME` of this process to the home's `dagster/` folder.
    """
    from dagster import DagsterInstance

    from fxgpt_core.store.migrate import upgrade
    from fxgpt_pipeline.settings import load_settings

    home = workspace.home.create()
    with FileLock(home.root / ".prepare.lock"):
        upgrade(home.database_url)
        workspace.registry.initialise()
        install_dagster_home(workspace)
        # Opening once creates Dagster's tables before two processes race for it.
        with DagsterInstance.get() as instance:
            _limit_trainings(instance, load_settings(workspace.config_dir).retraining.at_once)


def _limit_trainings(instance: DagsterInstance, at_once: int) -> None:
    """Let as many runs train together as the retraining rule allows; every other pool admits one."""
    if instance.event_log_storage.get_concurrency_info(TRAINING_POOL).limit != at_once:
        instance.event_log_storage.set_concurrency_slots(TRAINING_POOL, at_once)


def install_dagster_home(workspace: Workspace) -> None:
    """Copy the checkout's `dagster.yaml` into the home and point this process at it.

    Dagster reads only `$DAGSTER_HOME/dagster.yaml`; a file there without our first line is a person's and is kept.
    """
    source, target = CHECKOUT / "dagster.yaml", workspace.home.dagster / "dagster.yaml"
    ours = source.read_text(encoding="utf-8")
    found = target.read_text(encoding="utf-8") if target.exists() else None
    if found is None or (found != ours and found.splitlines()[:1] == ours.splitlines()[:1]):
        write_atomically(target, ours)
    os.environ["DAGSTER_HOME"] = str(workspace.home.dagster)
