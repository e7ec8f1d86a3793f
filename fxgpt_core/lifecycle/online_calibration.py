"""Adaptive calibration while a model serves: learn from every outcome that became known since the last forecast.

A registered model never changes; what its adaptive calibrator learns lies beside it in a `StateStore`. The state after
a bar depends on the bars alone: caught up bar by bar, after a pause, or by two processes at once, it is the same, and
the same as walk-forward calibration finds when it follows that span at once. So a state is saved at most once, the
loser of a race has nothing to add, and a process that dies before saving has lost nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.bundle import Bundle
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.store.database import Database
from fxgpt_core.store.states import StateStore

OWNER = "calibrator"


def calibrator_states(database: Database, bundle: Bundle, version: str) -> StateStore | None:
    """Return where the calibrator of a registered version keeps what it learns; None where it learns nothing.

    The key holds the fitted calibrator's own version too: a registry that began anew finds no state of another model.
    """
    calibrator = bundle.calibrator
    if calibrator is None or calibrator.tracker is None:
        return None
    return StateStore(database, OWNER, bundle.card.symbol, f"{version}:{calibrator.version}")


def caught_up(bundle: Bundle, dataset: Dataset, states: StateStore | None, seed: int = 0) -> Bundle:
    """Return the bundle with its calibrator as it stands at the last bar of `dataset`, and save that state.

    Starts from the newest state that knows nothing after that bar, forecasts the bars since then in bulk without
    calibration, and learns their outcomes in the order in which they became known. `seed` as in a forecast. Bars that
    are filled in behind a saved state are not learnt any more. Nothing happens without `states`.
    """
    if states is None or bundle.calibrator is None or not len(dataset):
        return bundle
    moment = dataset.known_at[-1]
    saved = states.latest(moment)
    calibrator = bundle.calibrator if saved is None else bundle.calibrator.with_state(saved.value)
    outcomes = Outcomes.from_dataset(dataset).known_at(moment)
    news = _unlearnt(bundle, dataset, outcomes, calibrator.known_until, seed)
    if news is not None:
        learnt = calibrator.learn(news, outcomes)
        if learnt.known_until > calibrator.known_until:
            states.save(learnt.state(), moment, saved)
        calibrator = learnt
    return replace(bundle, calibrator=calibrator)


def _unlearnt(bundle: Bundle, dataset: Dataset, outcomes: Outcomes, after: np.datetime64, seed: int) -> Forecast | None:
    """Return raw forecasts of the decisions with an outcome that became known after `after`, None without any.

    First those of earlier models that were pending when the calibrator was fitted, then the model's own.
    """
    calibrator = bundle.calibrator
    if calibrator is None:
        return None
    news = (outcomes.label_end > after).any(axis=1)  # (bars,); NaT compares false
    parts = []
    first = max(np.datetime64(bundle.card.trained_until, "ns"), calibrator.known_until)
    own = news & dataset.usable & (dataset.known_at >= first)
    if (pending := calibrator.pending) is not None:
        own &= dataset.known_at > pending.decided_at[-1]
        still = np.isin(pending.decided_at, dataset.known_at[news])
        if still.any():
            parts.append(pending.take(still))
    rows: NDArray[np.int64] = np.flatnonzero(own)
    if len(rows):
        provenance = Provenance(bundle.card.fingerprint, dataset.known_at[-1], "backfill")
        parts.append(bundle.raw(dataset, rows, provenance, seed))
    return concat(parts) if parts else None
