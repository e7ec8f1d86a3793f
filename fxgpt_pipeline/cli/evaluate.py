"""`fxgpt evaluate`: what the models of a symbol are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fxgpt_core.common.errors import BadInputError
from fxgpt_pipeline.cli.output import console, json_option, print_json, reporter

if TYPE_CHECKING:
    from fxgpt_pipeline.lineage import Lineage


@click.command()
@click.argument("symbol")
@click.option("--seeds", type=click.IntRange(2, 20), help="Fit FAMILY anew until there are so many seeds, and compare.")
@click.option("--family", help="The family that --seeds fits.")
@json_option
def evaluate(symbol: str, seeds: int | None, family: str | None, as_json: bool) -> None:
    """Show scores, tests and coverage of every model of SYMBOL, from its last evaluation.

    With --seeds, fit one family with further seeds and show how much of its skill the seed decides; finished folds
    are kept, so an interrupted run carries on.
    """
    from fxgpt_pipeline.workspace import Workspace

    if (seeds is None) != (family is None):
        raise BadInputError("--seeds and --family go together: `fxgpt evaluate SYMBOL --seeds 3 --family sssd`.")
    lineage = Workspace.from_environment().lineage(symbol)
    if seeds is not None and family is not None:
        _seeds(lineage, family, seeds, as_json)
    elif as_json:
        print_json(_document(lineage))
    else:
        _tables(lineage)


def _seeds(lineage: Lineage, family: str, count: int, as_json: bool) -> None:
    from fxgpt_pipeline.cli.evaluation_tables import seed_table
    from fxgpt_pipeline.seeding import repeat_with_seeds

    with reporter() as progress:
        spread = repeat_with_seeds(lineage, family, count, progress).to_dict()
    if as_json:
        print_json(spread)
    else:
        console().print(seed_table(spread))


def _document(lineage: Lineage) -> dict[str, Any]:
    """Return the stored evaluation as it is, and beside it whether bars, settings or code have changed since (`stale`),
    alarms, calibration and the seeds that were tried.
    """
    from fxgpt_core.evaluation.result import Evaluation
    from fxgpt_core.policy.alarms import raised_alarms
    from fxgpt_pipeline.cli.calibration_table import calibration_summaries

    document = lineage.workspace.documents.read("evaluation", lineage.symbol)
    evaluation = Evaluation.from_dict(document)
    alarms = [
        {"alarm": alarm.name, "low": alarm.low, "open": alarm.open, "sentence": alarm.sentence}
        for name in evaluation.families
        for alarm in raised_alarms(evaluation, name, lineage.asset.acknowledged_alarms)
    ]
    return {
        **document,
        "stale": _stale(lineage),
        "alarms": alarms,
        "calibration": calibration_summaries(lineage),
        "seeds": _stored_seeds(lineage),
    }


def _tables(lineage: Lineage) -> None:
    from fxgpt_core.evaluation.result import Evaluation
    from fxgpt_core.policy.alarms import raised_alarms
    from fxgpt_pipeline.cli.calibration_table import calibration_summaries, calibration_table, calibration_warnings
    from fxgpt_pipeline.cli.evaluation_tables import (
        baseline_table,
        consistency_table,
        degradation_table,
        error_table,
        seed_table,
    )
    from fxgpt_pipeline.cli.summary import skill_table

    evaluation = Evaluation.from_dict(lineage.workspace.documents.read("evaluation", lineage.symbol))
    out, calibrations = console(), calibration_summaries(lineage)
    for made in (
        skill_table(evaluation),
        baseline_table(evaluation),
        error_table(evaluation),
        degradation_table(evaluation),
        consistency_table(evaluation),
        calibration_table(calibrations),
        *(seed_table(spread) for spread in _stored_seeds(lineage).values()),
    ):
        out.print(made)
    for family in evaluation.families:
        for alarm in raised_alarms(evaluation, family, lineage.asset.acknowledged_alarms):
            out.print(f"{family}: {alarm.sentence}", markup=False)
    for warning in calibration_warnings(calibrations):
        out.print(warning, markup=False)
    if _stale(lineage):
        again = f"fxgpt materialize --symbol {lineage.symbol}"
        out.print(f"Outdated: bars, settings or code have changed since; `{again}` evaluates anew.", markup=False)


def _stale(lineage: Lineage) -> bool:
    """Tell whether the stored evaluation is of other bars, settings or code than there are now."""
    from fxgpt_pipeline.stages import SCORES

    return lineage.workspace.documents.fingerprint("evaluation", lineage.symbol) != lineage.fingerprint(SCORES)


def _stored_seeds(lineage: Lineage) -> dict[str, Any]:
    """Return the spread over seeds of every family for which it was made from what the evaluation was made from."""
    from fxgpt_pipeline.seeding import stored_spread

    found = {name: stored_spread(lineage, name) for name in lineage.families}
    return {name: spread for name, spread in found.items() if spread is not None}
