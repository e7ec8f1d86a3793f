"""`fxgpt evaluate`: what the models of a symbol are worth."""

from __future__ import annotations

import click

from fxgpt_pipeline.cli.output import console, json_option, print_json


@click.command()
@click.argument("symbol")
@json_option
def evaluate(symbol: str, as_json: bool) -> None:
    """Show scores, tests and coverage of every model of SYMBOL, from its last evaluation."""
    from fxgpt_core.evaluation.result import Evaluation
    from fxgpt_pipeline.cli.calibration_table import calibration_summaries, calibration_table, calibration_warnings
    from fxgpt_pipeline.cli.summary import skill_table
    from fxgpt_pipeline.workspace import Workspace

    lineage = Workspace.from_environment().lineage(symbol)
    document = lineage.workspace.documents.read("evaluation", lineage.symbol)
    calibrations = calibration_summaries(lineage)
    if as_json:
        print_json({**document, "calibration": calibrations})
        return
    evaluation = Evaluation.from_dict(document)
    console().print(skill_table(evaluation))
    for family in evaluation.families:
        for flag in evaluation.flags(family):
            console().print(f"{family}: {flag}", markup=False)
    console().print(calibration_table(calibrations))
    for warning in calibration_warnings(calibrations):
        console().print(warning, markup=False)
