"""`fxgpt check leakage` and `fxgpt check recursive`: the features of every symbol, unchanged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from fxgpt_core.common.errors import BadInputError, FxgptError
from fxgpt_pipeline.cli.output import console, json_option, print_json, reporter, table

if TYPE_CHECKING:
    import numpy as np

    from fxgpt_core.common.progress import Progress
    from fxgpt_core.features.checks.comparison import Leak
    from fxgpt_pipeline.lineage import Lineage
    from fxgpt_pipeline.workspace import Workspace

_SHOWN = 25
_seed = click.option("--seed", type=int, help="Seed of what is drawn.  [default: the pipeline's]")
_symbols = click.argument("symbols", nargs=-1, metavar="[SYMBOL]...")

Judge = Callable[["Lineage", "Progress"], dict[str, Any]]
"""Judges one symbol: a JSON-able answer with `symbol`, `passed`, `sentence` and `notes`."""


@click.command()
@_symbols
@click.option("--cuts", default=24, show_default=True, type=click.IntRange(1), help="Points at which history is cut.")
@_seed
@click.option("--exhaustive", is_flag=True, help="Compute all of history for every cut, not only the months near it.")
@json_option
@click.pass_context
def leakage(
    ctx: click.Context, symbols: tuple[str, ...], cuts: int, seed: int | None, exhaustive: bool, as_json: bool
) -> None:
    """Does anything change when the future is cut off? For SYMBOLs, by default all that are enabled.

    History is cut at random points and where look-ahead hides: ends of months, turning points, weekends, clock changes,
    holidays, gaps, the last bars. Slower bars, every feature, joins, yardstick, targets, flat form and scaler are made
    again from what is left and must be the same, bit for bit; so must sampled months of what is stored. Exit code 1
    when something is not.
    """

    def judge(lineage: Lineage, progress: Progress) -> dict[str, Any]:
        from fxgpt_pipeline.feature_checks import look_ahead

        draw = lineage.settings.seed if seed is None else seed
        report, stored = look_ahead(lineage, cuts, draw, exhaustive, progress)
        return {
            "symbol": lineage.symbol,
            "passed": report.passed and stored.passed,
            "sentence": f"{report.sentence} {stored.sentence}",
            "notes": stored.notes,
            "seed": draw,
            "columns": report.columns,
            "values": report.values,
            "cuts": [{"at": _time(cut.moment), "kind": cut.kind} for cut in report.cuts],
            "leaks": [_leak(leak) for leak in report.worst],
            "stored": {
                "months": stored.months,
                "values": stored.values,
                "differences": [_leak(leak) for leak in stored.differences],
            },
        }

    answers = _judge_all(symbols, judge)
    _answer(ctx, answers, as_json, _print_leaks)


@click.command()
@_symbols
@click.option("--months", default=6, show_default=True, type=click.IntRange(1), help="Months per timeframe.")
@_seed
@json_option
@click.pass_context
def recursive(ctx: click.Context, symbols: tuple[str, ...], months: int, seed: int | None, as_json: bool) -> None:
    """What would more warm-up change? For SYMBOLs, by default all that are enabled.

    Months are computed with two and four times the warm-up and from the start of history. Columns that change by more
    than 1e-6 of their standard deviation are listed with the size; exit code 1 unless each is declared as known to.
    """

    def judge(lineage: Lineage, progress: Progress) -> dict[str, Any]:
        from fxgpt_pipeline.feature_checks import warm_up

        report = warm_up(lineage, months, lineage.settings.seed if seed is None else seed, progress)
        found = [
            {
                "column": one.column,
                "size": one.size if one.size < float("inf") else None,
                "rows": one.rows,
                "month": str(one.month),
                "warm_up": one.warm_up,
                "known": one.reason,
            }
            for one in report.found
        ]
        notes = [f"{report.symbol} {code} has too little history before any month" for code in report.skipped]
        return {
            "symbol": lineage.symbol,
            "passed": report.passed,
            "sentence": report.sentence,
            "notes": notes if report.months else [],
            "columns": report.columns,
            "months": report.months,
            "found": found,
        }

    answers = _judge_all(symbols, judge)
    _answer(ctx, answers, as_json, _print_dependences)


def _judge_all(symbols: Sequence[str], judge: Judge) -> list[dict[str, Any]]:
    """Judge the named symbols, or all that are enabled and have bars; one that cannot be judged stops no other."""
    from fxgpt_core.market.history import given_bars
    from fxgpt_pipeline.workspace import Workspace

    workspace = Workspace.from_environment()
    named = [workspace.lineage(symbol).symbol for symbol in dict.fromkeys(symbols)]
    chosen = named or [symbol for symbol in _enabled(workspace) if given_bars(workspace.lake, symbol)]
    if not chosen:
        raise BadInputError("No enabled symbol has bars: import some (fxgpt import FILE), or run `fxgpt demo`.")
    answers = []
    with reporter() as progress:
        for symbol in chosen:
            try:
                answers.append(judge(workspace.lineage(symbol), progress))
            except FxgptError as error:
                answers.append({"symbol": symbol, "passed": False, "sentence": "", "notes": [], "error": str(error)})
    return answers


def _enabled(workspace: Workspace) -> list[str]:
    return sorted(symbol for symbol, asset in workspace.assets.items() if asset.enabled)


def _answer(
    ctx: click.Context,
    answers: Sequence[dict[str, Any]],
    as_json: bool,
    details: Callable[[dict[str, Any]], None],
) -> None:
    """Print the answers and end with exit code 1 unless all passed."""
    failed = [answer["symbol"] for answer in answers if not answer["passed"]]
    if as_json:
        print_json({"passed": not failed, "symbols": answers})
    else:
        for answer in answers:
            click.echo(f"Error: {answer['error']}" if "error" in answer else answer["sentence"], err="error" in answer)
            for note in answer["notes"]:
                click.echo(f"Note: {note}.", err=True)
            details(answer)
        click.echo(f"{len(answers) - len(failed)} of {len(answers)} symbols passed.")
    if failed:
        ctx.exit(1)


def _print_leaks(answer: dict[str, Any]) -> None:
    for title, leaks in (
        ("What looks ahead", answer.get("leaks", [])),
        ("What is stored otherwise", answer.get("stored", {}).get("differences", [])),
    ):
        rows = [[leak[name] for name in ("what", "rows", "first", "cut", "kind")] for leak in leaks]
        _print_some(f"{title}: {answer['symbol']}", ("what", "rows", "first", "cut", "kind of cut"), rows)


def _print_dependences(answer: dict[str, Any]) -> None:
    rows = [
        [one["column"], f"{one['size']:.1e}" if one["size"] is not None else "undefined with one", one["rows"],
         one["month"], one["warm_up"], one["known"]]
        for one in answer.get("found", [])
    ]  # fmt: skip
    columns = ("column", "standard deviations", "rows", "month", "warm-up bars", "known because")
    _print_some(f"What more warm-up changes: {answer['symbol']}", columns, rows)


def _print_some(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        console().print(table(title, columns, rows[:_SHOWN]))
    if len(rows) > _SHOWN:
        click.echo(f"… and {len(rows) - _SHOWN} more; --json lists all.")


def _leak(leak: Leak) -> dict[str, Any]:
    return {
        "what": leak.what,
        "rows": leak.rows,
        "first": _time(leak.first),
        "cut": _time(leak.cut.moment),
        "kind": leak.cut.kind,
    }


def _time(moment: np.datetime64) -> str:
    return f"{str(moment)[:16]}Z"
