"""What must be true of a replay's forecasts, whoever stored them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fxgpt_core.backtest.audit import first_of
from fxgpt_core.lifecycle.replay.segments import Segment


def out_of_turn(segments: Sequence[Segment]) -> list[str]:
    """Find forecasts of a model that had learned from their time on, or that was not serving then.

    Every row, calibrated or not, is by its segment's version, of labels that had ended before its time, and lies after
    the close at which that version was trained and not after the one at which the next was. Returns sentences.
    """
    found = []
    for number, segment in enumerate(segments):
        record = segment.record
        until = np.datetime64(segments[number + 1].record.trained_at) if number + 1 < len(segments) else None
        for rows in (segment.raw, segment.calibrated):
            if rows is None:
                continue
            at, who = rows.decided_at, f"of version {record.version}"
            found += first_of(f"forecasts {who} rest on labels of their own time", at[~(rows.trained_until < at)])
            found += first_of(
                f"forecasts {who} are older than its training", at[~(at > np.datetime64(record.trained_at))]
            )
            if until is not None:
                found += first_of(f"forecasts {who} were made after the next version was", at[at > until])
            other = np.asarray(rows.model_version != record.version, dtype=bool)
            found += first_of(f"forecasts among those {who} name another", at[other])
    return found
