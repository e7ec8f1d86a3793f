"""`fxgpt leaderboard`: how the models do over all pairs."""

from __future__ import annotations

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json, table


@click.command()
@json_option
def leaderboard(as_json: bool) -> None:
    """Rank the models over every pair that has an evaluation, and write the page of it."""
    from fxgpt_core.common.errors import BadInputError
    from fxgpt_core.models.registry import FAMILIES
    from fxgpt_pipeline.ranking import write_board
    from fxgpt_pipeline.workspace import Workspace

    board, path = write_board(Workspace.from_environment())
    if not board.entries:
        raise BadInputError("No pair has an evaluation yet: run `fxgpt materialize --symbol EURUSD` first.")
    if as_json:
        print_json({**board.to_dict(), "page": str(path)})
        return
    columns = ("model", "mean rank", "mean skill", "deviation", "pairs", "better", "worse", "champion", "alarms")
    rows = [
        (
            FAMILIES[s.family].label if s.family in FAMILIES else s.family,
            f"{s.rank:.1f}",
            f"{s.skill:+.2%}",
            "" if s.deviation is None else f"{s.deviation:.2%}",
            s.pairs,
            s.better,
            s.worse,
            s.champions,
            s.alarms,
        )
        for s in board.standings
    ]
    title = (
        f"{', '.join(board.symbols)}: skill against the best baselines of each pair; better, worse: pairs whose "
        "confidence interval excludes zero"
    )
    console().print(table(title, columns, rows))
    outdated = [symbol for symbol in board.symbols if board.of(symbol)[0].stale]
    if outdated:
        console().print(f"Outdated: {', '.join(outdated)} (fxgpt materialize --symbol … brings them up to date).")
    console().print(f"Page: {path}", markup=False)
