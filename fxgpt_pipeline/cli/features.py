"""`fxgpt features`: which indicators there are, what they compute and which a pair uses."""

from __future__ import annotations

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json, table


@click.command()
@click.option("--symbol", help="Only what the configuration of this pair chooses.")
@click.option("--group", help="Only this group.")
@click.option("--timeframe", default="5m", show_default=True, help="Timeframe in whose columns they are shown.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the page that docs/features.md holds.")
@json_option
def features(symbol: str | None, group: str | None, timeframe: str, as_markdown: bool, as_json: bool) -> None:
    """List the indicators with their columns, parameters, ranges and formulas."""
    from fxgpt_core.common.errors import BadInputError
    from fxgpt_core.common.timeframes import timeframe as parse_timeframe
    from fxgpt_core.features.catalogue import catalogue, markdown
    from fxgpt_pipeline.workspace import Workspace

    lineage = Workspace.from_environment().lineage(symbol) if symbol else None
    for idle in lineage.spec.idle(lineage.timeframes) if lineage else ():
        click.echo(f"Note: {idle}.", err=True)
    found = catalogue(lineage.spec if lineage else None, parse_timeframe(timeframe))
    known = list(dict.fromkeys(entry.group for entry in found))
    if group is not None and group not in known:
        raise BadInputError(f"There is no group {group!r}: groups are {', '.join(known)}.")
    found = [entry for entry in found if group in (None, entry.group)]
    if as_markdown:
        click.echo(markdown(found), nl=False)
    elif as_json:
        print_json([entry.to_dict() for entry in found])
    else:
        rows = [
            (
                one.name,
                one.group,
                len(one.columns),
                "; ".join(f"{n} {t}" for n, t in one.parameters.items()),
                one.formula,
            )
            for one in found
        ]
        console().print(table("", ("indicator", "group", "columns", "parameters", "what"), rows))
        click.echo(f"{len(found)} indicators, {sum(len(entry.columns) for entry in found)} columns at {timeframe}.")
