"""`fxgpt retrain`: retrain a symbol now, or say what the rule would do."""

from __future__ import annotations

import click

from fxgpt_core.common.errors import FxgptError
from fxgpt_core.policy.decision import Decision
from fxgpt_pipeline.cli.output import json_option, print_json, reporter


@click.command()
@click.argument("symbol")
@click.option("--why", is_flag=True, help="Only say what the retraining rule would decide now, and why.")
@json_option
def retrain(symbol: str, why: bool, as_json: bool) -> None:
    """Train new candidates for SYMBOL; its champion keeps serving and the best candidate enters as shadow."""
    from dagster import DagsterInstance

    from fxgpt_pipeline.cli.running import run_stages
    from fxgpt_pipeline.defs.automation import decide
    from fxgpt_pipeline.defs.verdicts import latest_verdict
    from fxgpt_pipeline.homes import prepare
    from fxgpt_pipeline.workspace import Workspace

    with reporter() as progress:
        workspace = Workspace.from_environment(progress)
        lineage = workspace.lineage(symbol)
        prepare(workspace)
        with DagsterInstance.get() as instance:
            news = latest_verdict(instance, lineage.symbol) if why else None
            decision = decide(lineage, instance, workspace.clock.now(), news, manual=not why)
        if why:
            print_json(decision.to_dict()) if as_json else click.echo(_explained(decision))
            return
        if decision.what != "retrain":
            raise FxgptError(f"{lineage.symbol} is not retrained: {' '.join(decision.reasons)}")
        failure = run_stages(
            workspace, lineage, list(lineage.stages), cause=f"manual:{workspace.clock.now().isoformat()}"
        )
    if failure:
        raise FxgptError(failure)


def _explained(decision: Decision) -> str:
    """Say what the rule would do, why, and what it looked at."""
    drift = decision.evidence["drift"]
    trained = decision.evidence["last_trained_at"]
    lines = [
        f"{decision.symbol}: {decision.what}",
        *(f"  because: {reason}" for reason in decision.reasons),
        f"  last training: {f'{trained[:16]} UTC' if trained else 'none'}; every {decision.evidence['every_days']:g} "
        f"days, cooldown {decision.evidence['cooldown_hours']:g} h",
        f"  last drift verdict: {drift['summary'] if drift else 'none'}",
        f"  live performance: {_performance(decision)}",
        f"  running: {'this pair' if decision.evidence['running'] else 'not this pair'}, "
        f"{decision.evidence['running_elsewhere']} others of at most {decision.evidence['at_once']}",
    ]
    return "\n".join(lines)


def _performance(decision: Decision) -> str:
    """Say how the champion's live forecasts compare with its reference."""
    news, worse = decision.evidence["performance"], decision.evidence["degraded"]
    if news is None:
        return "not judged yet; it needs outcomes of `fxgpt live`"
    if not worse and news["since"] is not None:
        return f"{news['version']} was degraded since {news['since'][:16]} UTC, which a training has answered"
    compared = f"{len(news['comparisons'])} comparisons of {news['version']} at {news['judged_at'][:16]} UTC"
    return f"{'; '.join(worse)} ({compared})" if worse else f"as good as its reference in {compared}"
