"""`fxgpt dashboard`: every pair at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json, table

if TYPE_CHECKING:
    from fxgpt_core.reports.dashboard_page import DashboardRow

_COLUMNS = (
    "pair", "champion", "family", "age", "expires in", "skill", "90% covers", "drift", "shadow", "next look", "last",
)  # fmt: skip


@click.command()
@json_option
def dashboard(as_json: bool) -> None:
    """Show who serves every pair, how well, what was decided lately, and write the page of it."""
    from fxgpt_pipeline.dashboarding import write_dashboard
    from fxgpt_pipeline.workspace import Workspace

    rows, path = write_dashboard(Workspace.from_environment())
    if as_json:
        print_json({"pairs": [row.to_dict() for row in rows], "page": str(path)})
        return
    console().print(table("Models at work", _COLUMNS, [_cells(row) for row in rows]))
    for row in rows:
        for said in (*row.problems, *row.alarms):
            console().print(f"{row.symbol}: {said}", markup=False)
    console().print(f"Page: {path}", markup=False)


def _cells(row: DashboardRow) -> tuple[str, ...]:
    def days(value: float | None) -> str:
        return "" if value is None else "expired" if value < 0 else f"{value:.1f} days"

    last = row.decisions[0] if row.decisions else None
    return (
        row.symbol if row.enabled else f"{row.symbol} (off)",
        row.champion or "none",
        row.family,
        days(row.age_days),
        days(row.expires_in_days),
        "" if row.skill is None else f"{row.skill:+.2%}",
        "" if row.coverage is None else f"{row.coverage:.1%}",
        row.drift,
        row.shadow,
        row.next_look,
        "" if last is None else f"{last.kind}: {last.what}",
    )
