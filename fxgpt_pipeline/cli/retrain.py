"""`fxgpt retrain`: retrain a symbol now, or say what the rule would do."""

from __future__ import annotations

import json

import click

from fxgpt_core.common.errors import FxgptError
from fxgpt_pipeline.cli.output import reporter


@click.command()
@click.argument("symbol")
@click.option("--why", is_flag=True, help="Only say what the retraining rule would decide now, and why.")
def retrain(symbol: str, why: bool) -> None:
    """Train new candidates for SYMBOL; its champion keeps serving and the best candidate enters as shadow."""
    from dagster import DagsterInstance

    from fxgpt_pipeline.cli.running import run_stages
    from fxgpt_pipeline.defs.automation import decide
    from fxgpt_pipeline.homes import prepare
    from fxgpt_pipeline.stages import DRIFT
    from fxgpt_pipeline.workspace import Workspace

    with reporter() as progress:
        workspace = Workspace.from_environment(progress)
        lineage = workspace.lineage(symbol)
        prepare(workspace)
        with DagsterInstance.get() as instance:
            decision = decide(lineage, instance, workspace.clock.now(), None, manual=not why)
        if why:
            click.echo(json.dumps(decision.to_dict(), indent=1))
            return
        if decision.what != "retrain":
            raise FxgptError(f"{lineage.symbol} is not retrained: {' '.join(decision.reasons)}")
        stages = [key for key in lineage.stages if key != DRIFT]
        failure = run_stages(workspace, lineage, stages, cause=f"manual:{workspace.clock.now().isoformat()}")
    if failure:
        raise FxgptError(failure)
