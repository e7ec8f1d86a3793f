"""`fxgpt materialize`: run part of a symbol's lineage through Dagster, so that it shows in the UI."""

from __future__ import annotations

import click

from fxgpt_core.common.errors import FxgptError
from fxgpt_pipeline.cli.output import reporter


@click.command()
@click.argument("selection", default="*")
@click.option("--symbol", "symbols", multiple=True, required=True, help="Symbol to run; repeat for several.")
@click.option("--force", is_flag=True, help="Compute again what is up to date.")
@click.option("--months", help="Months whose bars are fetched and derived again, such as 2024-03,2024-04.")
def materialize(selection: str, symbols: tuple[str, ...], force: bool, months: str | None) -> None:
    """Materialise SELECTION (asset keys such as `walk_forward/ridge`, `market/candles`; default everything).

    Stages whose inputs, settings and code have not changed are skipped. A failing symbol does not stop the others.
    """
    from fxgpt_pipeline.cli.running import choose, run_stages
    from fxgpt_pipeline.homes import prepare
    from fxgpt_pipeline.refreshing import parse_month
    from fxgpt_pipeline.workspace import Workspace

    wanted = [parse_month(text.strip()) for text in (months or "").split(",") if text.strip()]
    with reporter() as progress:
        workspace = Workspace.from_environment(progress)
        chosen = {symbol: choose(workspace.lineage(symbol), selection) for symbol in symbols}
        prepare(workspace)
        failures = [
            run_stages(workspace, workspace.lineage(symbol), stages, force=force, months=wanted)
            for symbol, stages in chosen.items()
        ]
    if any(failures):
        raise FxgptError(" ".join(failure for failure in failures if failure))
