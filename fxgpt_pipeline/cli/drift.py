"""`fxgpt drift`: the last drift verdict of a symbol."""

from __future__ import annotations

from typing import Any

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json, table


@click.command()
@click.argument("symbol")
@json_option
def drift(symbol: str, as_json: bool) -> None:
    """Show whether the last days of SYMBOL look unlike the span that its models were trained on."""
    from fxgpt_pipeline.workspace import Workspace

    lineage = Workspace.from_environment().lineage(symbol)
    document = lineage.workspace.documents.read("drift", lineage.symbol)
    if as_json:
        print_json(document)
        return
    verdict = document["verdict"]
    console().print(document["summary"], markup=False)
    for note in verdict.get("notes", ()):
        console().print(f"  {note}", markup=False)
    if verdict.get("parts"):
        head = ("judged", "statistic", "threshold", "drifted", "training weeks", "most in")
        parts = [_part(part) for part in verdict["parts"]]
        console().print(table("Against thresholds of the training span", head, parts))
    if online := document.get("online"):
        title, names = f"Seen bar by bar up to {online['as_of'][:16]} UTC", ("", "now", "threshold", "in alarm since")
        console().print(table(title, names, [_stream(stream) for stream in online["streams"]]))
    for onset in document.get("live_onsets", ()):
        console().print(f"  {onset['at'][:16]} UTC, seen live: {onset['said']}", markup=False)
    if verdict["top"]:
        columns = [(c["name"], round(c["ks"], 3), round(c["score"], 2)) for c in verdict["top"]]
        console().print(table("Columns that moved most", ("column", "KS distance", "in standard deviations"), columns))


def _stream(stream: dict[str, Any]) -> tuple[Any, ...]:
    return (stream["name"], _figure(stream["statistic"]), _figure(stream["threshold"]), stream["since"] or "")


def _part(part: dict[str, Any]) -> tuple[Any, ...]:
    drifted = "yes" if part["drifted"] else "no"
    said = (_figure(part["statistic"]), _figure(part["threshold"]), drifted if part["statistic"] is not None else "")
    return (part["name"], *said, part["weeks"], part.get("lead", ""))


def _figure(value: float | None) -> str:
    return "too few rows" if value is None else f"{value:.3g}"
