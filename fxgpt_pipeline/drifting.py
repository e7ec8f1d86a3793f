"""Judging drift of a symbol from what is stored."""

from __future__ import annotations

from typing import Any

import numpy as np

from fxgpt_core.lifecycle.drift.assess import reference_of
from fxgpt_core.lifecycle.drift.columns import drift_table
from fxgpt_core.lifecycle.drift.report import write_drift_report
from fxgpt_core.lifecycle.drift.verdict import DriftVerdict, judge
from fxgpt_core.lifecycle.registry import CHAMPION
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.outputs import report_path
from fxgpt_pipeline.stages import DRIFT

DOCUMENT = "drift"


def judge_drift(lineage: Lineage) -> DriftVerdict:
    """Judge the last days of a symbol against its champion's training span, or all history before one exists.

    The verdict before this one decides about the onset. Judging the same window again, after a crash say, gives the
    same verdict, because the one before it is stored beside it.
    """
    documents, symbol = lineage.workspace.documents, lineage.symbol
    dataset = lineage.dataset()
    now = dataset.known_at[-1]
    champion = lineage.workspace.registry.holder(symbol, CHAMPION)
    until = np.datetime64(champion.tags["trained_until"]) if champion is not None else now
    start = dataset.known_at[int(np.flatnonzero(dataset.usable)[0])]
    stored: dict[str, Any] | None = documents.find(DOCUMENT, symbol)
    before = None if stored is None else stored["verdict"]
    if stored is not None and before is not None and before["window_end"] == f"{now.astype('datetime64[s]')}Z":
        before = stored["before"]
    config, previous = lineage.settings.drift, None if before is None else DriftVerdict.from_dict(before)
    reference = reference_of(dataset, (start, min(until, now)), now, config, lineage.settings.seed)
    table = drift_table(dataset, config)
    verdict = judge(reference, table, now, config, previous)
    if not verdict.note:
        write_drift_report(reference, table, verdict, report_path(lineage).parent, config)
    value = {"verdict": verdict.to_dict(), "before": before, "summary": verdict.summary, "judged_against": str(until)}
    documents.write(DOCUMENT, symbol, value, lineage.fingerprint(DRIFT))
    return verdict
