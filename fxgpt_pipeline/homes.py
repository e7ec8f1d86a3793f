"""Getting the state directory ready: folders, Dagster home, MLflow store, operational database."""

from __future__ import annotations

import os
import shutil

from filelock import FileLock

from fxgpt_core.store.paths import CHECKOUT
from fxgpt_pipeline.workspace import Workspace


def prepare(workspace: Workspace) -> None:
    """Create and migrate everything under `FXGPT_HOME`; idempotent, safe when two processes start together.

    Sets `DAGSTER_HOME` of this process to the home's `dagster/` folder.
    """
    from dagster import DagsterInstance
    from fxgpt_core.store.migrate import upgrade

    home = workspace.home.create()
    with FileLock(home.root / ".prepare.lock"):
        upgrade(home.database_url)
        workspace.registry.initialise()
        install_dagster_home(workspace)
        with DagsterInstance.get():
            pass  # Opening once creates Dagster's tables before two processes race for it.


def install_dagster_home(workspace: Workspace) -> None:
    """Copy the checkout's `dagster.yaml` into the home and point this process at it.

    Dagster reads only `$DAGSTER_HOME/dagster.yaml`; an instance file that a person has edited there is kept.
    """
    target = workspace.home.dagster / "dagster.yaml"
    if not target.exists():
        workspace.home.dagster.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / "dagster.yaml", target)
    os.environ["DAGSTER_HOME"] = str(workspace.home.dagster)
