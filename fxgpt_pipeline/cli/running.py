"""Running stages of one symbol from the command line; what `demo`, `materialize` and `retrain` share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from fxgpt_core.common.errors import BadInputError, FxgptError
from fxgpt_pipeline.cli.output import console

if TYPE_CHECKING:
    from fxgpt_pipeline.lineage import Lineage
    from fxgpt_pipeline.runs import Outcome
    from fxgpt_pipeline.stages import Key
    from fxgpt_pipeline.workspace import Workspace


def run_stages(
    workspace: Workspace,
    lineage: Lineage,
    chosen: Sequence[Key],
    *,
    force: bool = False,
    cause: str = "manual",
    months: Sequence[str] = (),
) -> str:
    """Materialise what is stale among `chosen`; return the sentence about a failure, or an empty one.

    Bars that a provider has are fetched by a run of their own: what else is stale is known only when they are there.
    `months` of bars are fetched and derived again whatever is up to date.
    """
    from dagster import DagsterInstance

    if not lineage.asset.enabled:
        raise BadInputError(f"{lineage.symbol} is switched off: set enabled to true in its file under configs/assets/.")
    from fxgpt_pipeline.definitions import build_definitions
    from fxgpt_pipeline.runs import close_dead_runs, execute, stale_stages, with_stale_ancestors
    from fxgpt_pipeline.stages import CANDLES

    with alone(workspace, lineage.symbol), DagsterInstance.get() as instance:
        for run in close_dead_runs(instance):
            console().print(f"Run {run[:8]} was interrupted earlier; carrying on where it stopped.")
        definitions, stale = build_definitions(workspace), stale_stages(lineage, instance)
        forced = set(chosen) if force else set()
        if months:
            forced.add(CANDLES)
            chosen = [*{CANDLES: None, **dict.fromkeys(chosen)}]
        if lineage.asset.remote and CANDLES in {*stale, *forced} and set(chosen) != {CANDLES}:
            outcome = execute(definitions, lineage, [CANDLES], instance, cause, months=months)
            if not outcome.success:
                return _failure(lineage, outcome)
            lineage = workspace.lineage(lineage.symbol)
            stale = [key for key in stale_stages(lineage, instance) if key != CANDLES]
            forced, months = forced - {CANDLES}, ()
        todo = [key for key in with_stale_ancestors(lineage, chosen, stale) if key in forced or key in stale]
        if not todo:
            console().print(f"{lineage.symbol}: nothing changed, all {len(chosen)} stages are up to date.")
            return ""
        console().print(f"{lineage.symbol}: {len(todo)} of {len(set(todo) | set(chosen))} stages to do.")
        outcome = execute(definitions, lineage, todo, instance, cause, months=months)
    if not outcome.success:
        return _failure(lineage, outcome)
    console().print(f"{lineage.symbol}: done, run {outcome.run_id[:8]}.")
    return ""


def _failure(lineage: Lineage, outcome: Outcome) -> str:
    if "DagsterExecutionInterruptedError" in outcome.error:
        raise KeyboardInterrupt
    return f"{lineage.symbol}: run {outcome.run_id[:8]} failed at {outcome.error}"


@contextmanager
def alone(workspace: Workspace, symbol: str) -> Iterator[None]:
    """Hold the symbol for this process; the operating system lets go of it when the process dies."""
    lock = FileLock(workspace.home.root / f".{symbol}.run.lock")
    try:
        with lock.acquire(timeout=0):
            yield
    except Timeout:
        raise FxgptError(f"Another fxgpt command is working on {symbol}: wait for it, or stop it first.") from None


def choose(lineage: Lineage, selection: str) -> list[Key]:
    """Return the stages that the comma-separated patterns of `selection` name, in order of dependency.

    Raises BadInputError listing the stages when a pattern names none.
    """
    patterns = [part.strip() for part in selection.split(",") if part.strip()]
    names = {key: stage.name for key, stage in lineage.stages.items()}
    for pattern in patterns or [selection]:
        if not any(fnmatchcase(name, pattern) for name in names.values()):
            known = ", ".join(names.values())
            raise BadInputError(f"Selection {pattern!r} names no stage of {lineage.symbol}: known are {known}.")
    return [key for key, name in names.items() if any(fnmatchcase(name, pattern) for pattern in patterns)]
