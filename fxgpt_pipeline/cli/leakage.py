"""`fxgpt check leakage`: does anything change when the future is cut off?"""

from __future__ import annotations

import json

import click

from fxgpt_core.common.errors import FxgptError
from fxgpt_pipeline.cli.output import json_option


@click.command()
@click.argument("symbol")
@click.option("--cuts", default=24, show_default=True, help="Number of points at which history is cut off.")
@json_option
def leakage(symbol: str, cuts: int, as_json: bool) -> None:
    """Recompute every feature, join and yardstick of SYMBOL on truncated histories and compare bit for bit."""
    from fxgpt_core.features.checks.leakage import check_leakage
    from fxgpt_pipeline.workspace import Workspace

    lineage = Workspace.from_environment().lineage(symbol)
    report = check_leakage(
        lineage.candles(),
        lineage.timeframes,
        lineage.horizons,
        lineage.spec,
        cuts,
        lineage.settings.seed,
        releases=lineage.releases(),
    )
    leaks = [{"what": leak.what, "cut": str(leak.cut.moment), "rows": leak.rows} for leak in report.leaks]
    if as_json:
        click.echo(json.dumps({"passed": report.passed, "cuts": len(report.cuts), "leaks": leaks}, indent=1))
    else:
        click.echo(f"{lineage.symbol}: {report.columns} columns compared at {len(report.cuts)} cuts.")
    if not report.passed:
        named = ", ".join(sorted({leak.what for leak in report.leaks})[:10])
        raise FxgptError(f"{lineage.symbol} looks ahead in {named}: these values change when the future is cut off.")
