"""What all asset definitions share: partitions, the decorator made from a stage, results and progress."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.progress import Progress
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.pinning import outdated_inputs, pinned
from fxgpt_pipeline.stages import Key, Stage
from fxgpt_pipeline.workspace import Workspace

OWNERS = ["team:fxgpt"]
PROMOTION_POOL = "promotion"
FRESH = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
"""Cheap stages follow their inputs by themselves, unless a blocking check says that these are bad."""
RENEWED_BY_ANY = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    | dg.AutomationCondition.missing()
    & dg.AutomationCondition.any_deps_match(~dg.AutomationCondition.missing())
    & ~dg.AutomationCondition.execution_failed()
) & ~(dg.AutomationCondition.in_progress() | dg.AutomationCondition.any_deps_in_progress())
"""For what stands on all symbols: whichever of them is made anew renews it, those that lack their part do not hold it
back, and what was made before anybody watched counts as well."""
_LOG_EVERY_SECONDS = 10.0

# Partitioned checks are marked as preview in this pinned version; the tests cover what is used of them.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)


@dataclass(frozen=True)
class Automation:
    """What starts runs."""

    jobs: list[Any]
    schedules: list[dg.ScheduleDefinition]
    sensors: list[dg.SensorDefinition]


@dataclass(frozen=True)
class Parts:
    """What every definition is built from: the symbols as partitions, the stages, and the workspace."""

    symbols: dg.StaticPartitionsDefinition
    stages: Mapping[Key, Stage]
    workspace: Workspace

    def asset(
        self, key: Key, *, description: str, kinds: set[str], declarations: str = "", **options: Any
    ) -> Callable[..., dg.AssetsDefinition]:
        """Return `@asset` for a stage: key, dependencies and code version come from the stage.

        `declarations`: a hash of what is declared elsewhere and belongs to the code, such as the indicators.
        """
        stage = self.stages[key]
        decorator: Callable[..., dg.AssetsDefinition] = dg.asset(
            key=dg.AssetKey(stage.key),
            deps=[dg.AssetKey(dep) for dep in stage.deps],
            partitions_def=self.symbols,
            group_name=stage.key[0],
            code_version=f"{stage.code_version}.{declarations}" if declarations else stage.code_version,
            owners=OWNERS,
            kinds=kinds,
            description=description,
            **options,
        )
        return decorator

    def check(self, key: Key, name: str, *, description: str, blocking: bool = False) -> Callable[..., Any]:
        """Return `@asset_check` on a stage, partitioned like the stage."""
        return dg.asset_check(
            asset=dg.AssetKey(key), name=name, description=description, blocking=blocking, partitions_def=self.symbols
        )


def known(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, workspace: Workspace) -> Lineage:
    """Return the lineage of the run's symbol with the bars that the run began with; later ones are another run's."""
    return pinned(workspace.lineage(context.partition_key), context.instance, context.run.run_id)


def began(context: dg.AssetExecutionContext, workspace: Workspace) -> datetime:
    """Return when the run began, on the clock of the product: Dagster counts wall time, and on a clock that is set a
    run takes none."""
    seconds, now = context.instance.get_run_stats(context.run.run_id).start_time, workspace.clock.now()
    return min(datetime.fromtimestamp(seconds, UTC), now) if seconds else now


def begin(context: dg.AssetExecutionContext, workspace: Workspace, key: Key) -> Lineage:
    """Return the lineage of the run's symbol as the run knows it; refuse to build on inputs that are out of date.

    A result carries the fingerprint of what its inputs should be, so they must be that when it is made. Raises
    DataError naming the stages to materialise first.
    """
    lineage = known(context, workspace)
    behind = [lineage.stages[dep].name for dep in outdated_inputs(lineage, context.instance, context.run.run_id, key)]
    if behind:
        raise DataError(
            f"{lineage.symbol}: {', '.join(behind)} were made from other bars, settings or code: materialise them "
            f"first (`fxgpt materialize --symbol {lineage.symbol}` does so by itself)."
        )
    return lineage


def finished(lineage: Lineage, key: Key, metadata: Mapping[str, Any]) -> dg.MaterializeResult[Any]:
    """Return a stage's result: its fingerprint becomes Dagster's data version, so that the UI knows what is stale."""
    return dg.MaterializeResult(
        metadata={name: _plain(value) for name, value in metadata.items() if value is not None},
        data_version=dg.DataVersion(lineage.fingerprint(key)),
    )


def _plain(value: Any) -> Any:
    """Return NumPy scalars as Python's own; Dagster stores nothing else."""
    return value.item() if isinstance(value, np.generic) else value


def switched_off(family: str) -> dg.MaterializeResult[Any]:
    """Return the result of a stage whose model family the asset's configuration leaves out."""
    return dg.MaterializeResult(metadata={"status": f"{family} is switched off for this symbol"})


def reporter(context: dg.AssetExecutionContext, workspace: Workspace) -> Progress:
    """Return where this step reports: the terminal that started it, else its Dagster log, a line every 10 s."""
    if workspace.progress is not None:
        return workspace.progress
    last = 0.0

    def report(what: str, done: int, total: int, note: str = "") -> None:
        nonlocal last
        if done >= total or time.monotonic() - last >= _LOG_EVERY_SECONDS:
            last = time.monotonic()
            context.log.info(f"{what} {done}/{total} {note}".rstrip())

    return report
