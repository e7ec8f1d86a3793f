"""`replay_retraining`: history lived through once more, a look at a time, by the rule that decides live (SPEC 11).

At every look the rule sees what was known then: the drift verdict of the window that ends there, the realised
forecasts of the serving version, the labels that have ended, its own last training. When it says `retrain`, a version
learns from labels that ended before that moment, its calibrator from earlier versions' forecasts and their outcomes,
and from the next bar on it forecasts. The first version is the one that a person asks for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.lifecycle.replay.history import History
from fxgpt_core.lifecycle.replay.segments import Record, Segment, SegmentStore
from fxgpt_core.lifecycle.replay.version_life import VersionLife
from fxgpt_core.policy.decision import Decision
from fxgpt_core.policy.retraining import RetrainingState, decide_retraining
from fxgpt_core.store.clock import Clock
from fxgpt_core.training.plan import TrainingPlan


def replay_retraining(
    history: History,
    store: SegmentStore,
    plan: TrainingPlan,
    clock: Clock,
    progress: Progress = silent,
    started: Callable[[np.datetime64], None] = lambda _trained_at: None,
) -> list[Segment]:
    """Return the segments of the whole history, those in `store` as they are; a killed replay loses one training.

    A stored segment is kept while everything that decided it is unchanged: configuration, every bar, feature and label
    up to its end, and the segments before it. `store` is that of `configuration_hash`. `plan.checkpoints` gets a folder
    a training, removed when its segment is stored. `started` hears of each training.

    Raises DataError where no look has labels enough to train on.
    """
    segments = _resumed(history, store)
    scored = [history.score(segment.calibrated) for segment in segments if segment.calibrated is not None]
    what, bars = f"{history.entry.label}: retraining along history", len(history.dataset)
    while (decision := _next_decision(history, segments)) is not None:
        started(decision.at)
        life = VersionLife(history, decision, segments, scored, plan, clock, progress)
        segment = _lived_through(life, lambda bar: progress(what, bar + 1, bars, f"{len(segments)} versions"))
        store.save(segment)
        life.forget()
        segments.append(segment)
        if segment.calibrated is not None:
            scored.append(history.score(segment.calibrated))
    progress(what, bars, bars, f"{len(segments)} versions")
    return segments


def _resumed(history: History, store: SegmentStore) -> list[Segment]:
    """Read the stored segments that would come out again as they are, and forget the others."""
    valid: list[Record] = []
    last = len(history.dataset) - 1
    for record in store.records():
        if record.last_bar > last or (record.open and record.last_bar != last):
            break
        try:
            version = history.version(history.split(record.first_bar), record.first_bar)
        except DataError:  # other bars than it was made from
            break
        if record.print != history.seal(valid[-1].print if valid else "", version, record.last_bar):
            break
        valid.append(record)
    store.keep(valid)
    history.read_again()
    return [store.read(record) for record in valid]


def _next_decision(history: History, segments: list[Segment]) -> Decision | None:
    """Return the decision that starts the next version, None when history is over."""
    if segments:
        return None if segments[-1].record.open else segments[-1].decisions[-1]
    problem = f"there is no look between {history.settings.begin} and the last bar."
    for bar in history.looks[:-1]:
        try:
            history.split(int(bar))
        except DataError as error:
            problem = str(error)
            continue
        state = RetrainingState(history.dataset.symbol, history.dataset.known_at[bar], None, manual=True)
        return decide_retraining(state, history.settings.retraining)
    raise DataError(f"Retraining of {history.entry.name} for {history.dataset.symbol} cannot be replayed: {problem}")


def _lived_through(life: VersionLife, say: Callable[[int], None]) -> Segment:
    """Ask the rule look by look until it wants another version, or history ends."""
    decisions: list[Decision] = []
    for bar in life.looks:
        say(bar)
        decisions.append(life.look(bar))
        if decisions[-1].what == "retrain":
            return life.close(bar, decisions, is_open=False)
    return life.close(len(life.history.dataset) - 1, decisions, is_open=True)
