"""One cause starts one run, and one more after each failure, up to a limit."""

import dagster as dg

from fxgpt_pipeline.runs import CAUSE_TAG

ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_ENDED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_WILL_RETRY = "dagster/will_retry"
_ATTEMPTS = 3
"""How often a run is tried for one cause; after that a person must look."""


def next_run_key(instance: dg.DagsterInstance, job: str, cause: str) -> str | None:
    """Return the run key under which a cause may start a run: its own, one more after each failure, none after all.

    Dagster drops a key that it has seen, so while a run of the last attempt is known the key stays the same; one that
    crashed, and that Dagster is about to resume by itself, has not failed yet.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        key = cause if attempt == 1 else f"{cause}:attempt{attempt}"
        runs = instance.get_runs(dg.RunsFilter(job_name=job, tags={CAUSE_TAG: key}), limit=1)
        if not runs or runs[0].status not in _ENDED or runs[0].tags.get(_WILL_RETRY) == "true":
            return key
    return None
