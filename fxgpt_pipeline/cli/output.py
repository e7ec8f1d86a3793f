"""How verbs answer: tables and JSON on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fxgpt_core.common.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_F = TypeVar("_F", bound=Callable[..., Any])

_ABOVE_BARS: ContextVar[Console | None] = ContextVar("above_bars", default=None)
"""The terminal that progress bars are drawn on now: what is printed there appears above them."""

PIPE_WIDTH = 200
"""Width of tables where stdout is no terminal."""

LINE_SECONDS = 10.0
"""Without a terminal, one line of progress at most this often."""

json_option: Callable[[_F], _F] = click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")
"""Adds `--json`, which arrives as the argument `as_json`."""


def console() -> Console:
    """Return the console of answers (stdout); piped output is neither wrapped nor cut to a terminal's width."""
    from rich.console import Console

    if sys.stdout.isatty():
        return _ABOVE_BARS.get() or Console(highlight=False)
    return Console(highlight=False, soft_wrap=True, width=PIPE_WIDTH)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return rows as a table for `console().print`; numbers are right-aligned, None shows as nothing."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        cells = [row[index] for row in rows if row[index] is not None]
        number = bool(cells) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells)
        made.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    return made


def print_json(value: Any) -> None:
    """Print a value as JSON; NaN and infinity, which JSON lacks, are an error of the caller."""
    click.echo(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


@contextmanager
def reporter() -> Iterator[Progress]:
    """Yield where long work reports: bars while stderr is a terminal, throttled lines elsewhere."""
    if not sys.stderr.isatty():
        yield line_reporter(lambda line: click.echo(line, err=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    note = TextColumn("{task.fields[note]}")
    # Answers that are piped must reach the pipe, so stdout passes above the bars only where it is a terminal too.
    terminal = Console(stderr=True, highlight=False)
    token = _ABOVE_BARS.set(terminal)
    with Bars(*columns, note, console=terminal, redirect_stdout=sys.stdout.isatty()) as bars:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int, note: str = "") -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, note=note)
            bars.update(tasks[what], completed=done, total=total, note=note)
            if done >= total:
                # A finished bar becomes a line above the others: hundreds of them would fill the screen.
                bars.remove_task(tasks.pop(what))
                terminal.print(f"{what} {done}/{total} {note}".rstrip(), markup=False)

        try:
            yield report
        finally:
            _ABOVE_BARS.reset(token)


def line_reporter(
    write: Callable[[str], object], now: Callable[[], float] = time.monotonic, every: float = LINE_SECONDS
) -> Progress:
    """Return a reporter that writes a line when something starts or ends, and every `every` seconds between."""
    last: dict[str, float] = {}

    def report(what: str, done: int, total: int, note: str = "") -> None:
        ended = done >= total
        if not ended and what in last and now() - last[what] < every:
            return
        last[what] = now()
        if ended:
            del last[what]
        write(f"{what} {done}/{total} {note}".rstrip())

    return report
