"""`fxgpt demo`: the whole lineage on the real bars that ship with backtesting.py."""

from __future__ import annotations

import click

from fxgpt_core.common.errors import FxgptError
from fxgpt_pipeline.cli.output import reporter


@click.command()
@click.option("--symbol", default="EURUSD", show_default=True, help="Configured symbol to run.")
@click.option("--force", is_flag=True, help="Compute every stage again, even where nothing changed.")
def demo(symbol: str, force: bool) -> None:
    """Materialise everything for one symbol through Dagster and show what came out.

    Run again, it only does what is missing or stale, so an interrupted run carries on where it stopped.
    """
    from fxgpt_pipeline.cli.running import run_stages
    from fxgpt_pipeline.cli.summary import print_summary
    from fxgpt_pipeline.homes import prepare
    from fxgpt_pipeline.workspace import Workspace

    with reporter() as progress:
        workspace = Workspace.from_environment(progress)
        lineage = workspace.lineage(symbol)
        prepare(workspace)
        failure = run_stages(workspace, lineage, list(lineage.stages), force=force, cause="demo")
    if failure:
        raise FxgptError(failure)
    print_summary(workspace, lineage)
