"""Running a symbol's lineage from a program: what is stale, start it through Dagster, clean up after dead processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fxgpt_core.common.errors import BadInputError, FxgptError
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.stages import CANDLES, Key, Stage

if TYPE_CHECKING:
    from dagster import DagsterEvent, DagsterInstance, Definitions, EventLogRecord, ExecuteInProcessResult

PROCESS_TAG = "fxgpt/process"
CAUSE_TAG = "fxgpt/cause"
LINEAGE_JOB, RETRAIN_JOB = "lineage", "retrain"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its id, whether it succeeded, and the error of the first step that failed."""

    run_id: str
    success: bool
    error: str = ""


def stale_stages(lineage: Lineage, instance: DagsterInstance) -> list[Key]:
    """Return the stages whose recorded result is missing or was made from other inputs, settings or code.

    A result that its blocking check refused, or has not seen, is stale too: asking twice never gets around a check.
    Candles are stale as well while their provider has more of them.
    """
    from dagster import AssetKey

    from fxgpt_pipeline.outputs import present
    from fxgpt_pipeline.refreshing import awaits_bars

    stale: list[Key] = []
    for key, stage in lineage.stages.items():
        record = instance.get_latest_data_version_record(AssetKey(key), partition_key=lineage.symbol)
        current = _data_version(record) == lineage.fingerprint(key) and present(lineage, key)
        current = current and not (key == CANDLES and awaits_bars(lineage))
        if record is None or not current or not _let_through(instance, stage, lineage.symbol, record.timestamp):
            stale.append(key)
    return stale


def with_stale_ancestors(lineage: Lineage, chosen: Sequence[Key], stale: Iterable[Key]) -> list[Key]:
    """Return `chosen` and every stale stage below it, in order of dependency."""
    wanted, old = set(chosen), set(stale)
    for key in reversed(list(lineage.stages)):
        if key in wanted:
            wanted.update(dep for dep in _below(lineage, key) if dep in old)
    return [key for key in lineage.stages if key in wanted]


def _below(lineage: Lineage, key: Key) -> set[Key]:
    deps = lineage.stages[key].deps
    return set(deps).union(*(_below(lineage, dep) for dep in deps))


def _data_version(record: EventLogRecord | None) -> str | None:
    event = record.asset_event if record is not None else None
    return (event.tags or {}).get("dagster/data_version") if event is not None else None


def _let_through(instance: DagsterInstance, stage: Stage, symbol: str, materialised_at: float) -> bool:
    """Tell whether all blocking checks of the stage have passed since the result was made."""
    return all(_passed(instance, stage, gate, symbol, materialised_at) for gate in stage.gates)


def _passed(instance: DagsterInstance, stage: Stage, gate: str, symbol: str, materialised_at: float) -> bool:
    from dagster import AssetCheckKey, AssetKey
    from dagster._core.event_api import PartitionKeyFilter  # the only way to ask for one partition's checks

    found = instance.event_log_storage.get_asset_check_execution_history(
        AssetCheckKey(AssetKey(stage.key), gate), limit=1, partition_filter=PartitionKeyFilter(key=symbol)
    )
    if not found or found[0].event is None or found[0].event.timestamp < materialised_at:
        return False
    return found[0].status.value == "SUCCEEDED"


def execute(
    definitions: Definitions,
    lineage: Lineage,
    stages: Sequence[Key],
    instance: DagsterInstance,
    cause: str = "manual",
    job: str = LINEAGE_JOB,
    months: Sequence[str] = (),
) -> Outcome:
    """Materialise `stages` of one symbol in this process as one Dagster run, in the order of their dependencies.

    `months` are what the launchpad would ask of the candles.
    """
    from dagster import AssetKey

    keys = [AssetKey(key) for key in lineage.stages if key in set(stages)]
    if not keys:
        raise BadInputError(f"Nothing to materialise for {lineage.symbol}: the selection is empty.")
    tags = {PROCESS_TAG: _this_process(), CAUSE_TAG: cause}
    candles = {"__".join(CANDLES): {"config": {"months": list(months)}}}
    asked = {"ops": candles} if months and CANDLES in stages else {}
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=instance,
        partition_key=lineage.symbol,
        asset_selection=keys,
        tags=tags,
        raise_on_error=False,
        # Dagster's event log holds every line; on a terminal it would bury the progress.
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, **asked},
    )
    return Outcome(result.run_id, result.success, "" if result.success else first_error(result))


def close_dead_runs(instance: DagsterInstance) -> list[str]:
    """Mark runs failed whose process was killed, so that nothing waits for them; returns their ids."""
    from dagster import DagsterRunStatus, RunsFilter

    closed = []
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.STARTING])):
        process = run.tags.get(PROCESS_TAG)
        if process is not None and not _alive(process):
            instance.report_run_failed(run, f"The process {process} that executed this run is gone.")
            closed.append(run.run_id)
    return closed


def by_hand(instance: DagsterInstance) -> set[str]:
    """Return the symbols on which a command of a person is at work: runs whose process lives."""
    from dagster import DagsterRunStatus, RunsFilter

    running = RunsFilter(job_name=LINEAGE_JOB, statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.STARTING])
    alive = (run.tags for run in instance.get_runs(running) if _alive(run.tags.get(PROCESS_TAG, _this_process())))
    return {tags["dagster/partition"] for tags in alive if "dagster/partition" in tags}


def first_error(result: ExecuteInProcessResult) -> str:
    """Return what to say of a run that failed: its blocking check's words, or those of the error behind its step."""
    # A failed blocking check also fails its step, with a message that says less than the check itself.
    for check in result.get_asset_check_evaluations():
        if check.blocking and not check.passed and check.severity.value == "ERROR":
            return f"{check.asset_key.to_user_string()}: the check {check.check_name} failed: {check.description or ''}"
    for event in result.all_events:
        if event.is_step_failure:
            said = step_error(event)
            if said:
                return said
    return "the run failed before its first step"


def step_error(event: DagsterEvent) -> str:
    """Return the step that failed with the words of the error behind it; empty where none was recorded."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return ""
    name, _, text = error.message.partition(": ")
    known = name.rsplit(".", 1)[-1] in {c.__name__ for c in _subclasses(FxgptError)}
    return f"{event.step_key}: {text.strip() if known else error.message.strip()}"


def _subclasses(kind: type) -> list[type]:
    children: list[type] = kind.__subclasses__()
    return [kind, *(deeper for child in children for deeper in _subclasses(child))]


def _this_process() -> str:
    import psutil

    return f"{os.uname().nodename}:{os.getpid()}:{psutil.Process().create_time():.0f}"


def _alive(process: str) -> bool:
    import psutil

    host, pid, started = process.rsplit(":", 2)
    if host != os.uname().nodename:
        return True
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - float(started)) < 2)
    except psutil.NoSuchProcess:
        return False
