"""`fxgpt models`: the registry of a symbol, promotion, rollback and export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fxgpt_pipeline.cli.output import console, json_option, table

if TYPE_CHECKING:
    from fxgpt_pipeline.lineage import Lineage


@click.group()
def models() -> None:
    """List, inspect, promote, roll back and export registered models."""


@models.command("list")
@click.argument("symbol")
@json_option
def list_models(symbol: str, as_json: bool) -> None:
    """List every version of SYMBOL, newest first."""
    lineage = _lineage(symbol)
    versions = lineage.workspace.registry.versions(lineage.symbol)
    if as_json:
        rows = [
            {"version": v.version, "family": v.family, "aliases": v.aliases, "tags": dict(v.tags)} for v in versions
        ]
        click.echo(json.dumps(rows, indent=1))
        return
    console().print(
        table(
            f"fxgpt.{lineage.symbol}",
            ("version", "family", "aliases", "trained until", "fingerprint"),
            [
                (
                    v.version,
                    v.family,
                    ", ".join(v.aliases),
                    v.tags.get("trained_until", ""),
                    v.tags.get("fingerprint", ""),
                )
                for v in versions
            ],
        )
    )


@models.command()
@click.argument("symbol")
@click.argument("model", default="champion")
@json_option
def show(symbol: str, model: str, as_json: bool) -> None:
    """Show one MODEL of SYMBOL: an alias, a family or a version number."""
    from fxgpt_pipeline.serving import resolve

    version = resolve(_lineage(symbol), model)
    values = {"version": version.label, "family": version.family, "aliases": list(version.aliases), **version.tags}
    if as_json:
        click.echo(json.dumps(values, indent=1))
        return
    for name, value in values.items():
        console().print(f"[bold]{name}[/bold]  {value}", highlight=False)


@models.command()
@click.argument("symbol")
@click.argument("model", default="champion")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="New folder.")
@click.option("--format", "form", default="onnx", show_default=True, help="onnx or torch (torch.export).")
@json_option
def export(symbol: str, model: str, folder: Path, form: str, as_json: bool) -> None:
    """Write MODEL of SYMBOL (alias, family or version) for programs without fxgpt, checked against the model."""
    from fxgpt_pipeline.serving import export_version, resolve

    lineage = _lineage(symbol)
    version = resolve(lineage, model)
    differences = export_version(lineage, version, folder, form)
    files = sorted(path.name for path in folder.iterdir())
    if as_json:
        click.echo(json.dumps({"version": version.label, "files": files, "differences": differences}, indent=1))
        return
    console().print(f"{version.label} ({version.family}) is in {folder}: {', '.join(files)}", highlight=False)
    for name, value in differences.items():
        console().print(f"{name} differs from the model by at most {value:.1e}", highlight=False)


@models.command()
@click.argument("symbol")
@click.argument("version")
@click.option("--reason", required=True, help="Why; recorded with the promotion.")
def promote(symbol: str, version: str, reason: str) -> None:
    """Make VERSION the champion of SYMBOL after a smoke forecast; the old champion becomes `previous`."""
    from fxgpt_pipeline.champions import promote_by_hand

    chosen = promote_by_hand(_lineage(symbol), version, reason)
    click.echo(f"{chosen.label} ({chosen.family}) is champion.")


@models.command()
@click.argument("symbol")
@click.option("--reason", default="", help="Why; recorded with the rollback.")
def rollback(symbol: str, reason: str) -> None:
    """Make the previous champion of SYMBOL champion again, after it has forecast."""
    from fxgpt_pipeline.champions import roll_back

    version = roll_back(_lineage(symbol), reason)
    click.echo(f"{version.label} ({version.family}) is champion again.")


def _lineage(symbol: str) -> Lineage:
    from fxgpt_pipeline.homes import prepare
    from fxgpt_pipeline.workspace import Workspace

    workspace = Workspace.from_environment()
    lineage = workspace.lineage(symbol)
    prepare(workspace)
    return lineage
