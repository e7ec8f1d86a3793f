"""`fxgpt portfolio`: all pairs on one capital."""

from __future__ import annotations

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json, table


@click.command()
@click.option(
    "--family", metavar="MODEL", help="Trade every pair by this model's forecasts.  [default: its champion's]"
)
@json_option
def portfolio(family: str | None, as_json: bool) -> None:
    """Trade every enabled pair on one capital under the limits of `portfolio` in pipeline.yaml, and write the page."""
    from fxgpt_core.store.migrate import upgrade
    from fxgpt_pipeline.portfolios import trade_portfolio
    from fxgpt_pipeline.workspace import Workspace

    workspace = Workspace.from_environment()
    workspace.home.create()
    upgrade(workspace.home.database_url)
    made = trade_portfolio(workspace, family)
    told = made.to_dict()
    if as_json:
        print_json({**told, "page": str(made.page)})
        return
    rows = [
        (symbol, told["members"][symbol], row["trades"], f"{row['gross']:+,.2f}", f"{row['net']:+,.2f}", row["cut"],
         row["refused"], ", ".join(f"{cause} {count}" for cause, count in row["causes"].items()))
        for symbol, row in told["pairs"].items()
    ]  # fmt: skip
    metrics, out = told["metrics"], console()
    sharpe = "n/a" if metrics["sharpe"] is None else f"{metrics['sharpe']:.2f}"
    title = (
        f"{told['start'][:10]} to {told['end'][:10]}, {told['currency']}: return {metrics['return']:+.2%}, Sharpe "
        f"{sharpe}, maximum drawdown {metrics['max_drawdown']:.1%} ({told['status']})"
    )
    out.print(table(title, ("pair", "model", "trades", "gross", "net", "cut", "refused", "by"), rows))
    for symbol, why in told["left_out"].items():
        out.print(f"{symbol} takes no part. {why}", markup=False)
    for sentence in told["verdict"]:
        out.print(sentence, markup=False)
    out.print(f"Page: {made.page}", markup=False)
