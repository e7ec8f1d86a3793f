"""When the replay decides, and on which labels a training of that moment would have learned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.evaluation.purging import days, require_labels, with_validation
from fxgpt_core.evaluation.split_config import PurgeConfig
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.policy.config import ReplayConfig

_MONTH_DAYS = 365.25 / 12
_HOUR = np.timedelta64(3_600_000_000_000, "ns")


def decision_bars(known_at: NDArray[np.datetime64], begin: np.datetime64, config: ReplayConfig) -> NDArray[np.int64]:
    """Return the bars at whose close the rule is asked: (steps,), increasing.

    It is asked every `look_hours` from `first_look_hour` (UTC) on, as a schedule is, and knows the bars closed by
    then: the last of them is the step's bar. Hours in which no bar closed since the last look are left out, and so are
    those after the last bar, so that bars which come later never move a step. `begin`: no earlier look.
    """
    if not len(known_at):
        return np.empty(0, dtype=np.int64)
    origin = begin.astype("datetime64[D]").astype("datetime64[ns]") + config.first_look_hour * _HOUR
    looks = np.arange(origin, known_at[-1] + np.timedelta64(1, "ns"), config.look_hours * _HOUR)
    looks = looks[looks >= begin]
    bars = np.unique(np.searchsorted(known_at, looks, side="right") - 1)
    return np.asarray(bars[(bars >= 0) & (known_at[bars] >= begin)], dtype=np.int64)


def retraining_split(dataset: Dataset, bar: int, months: float, purge: PurgeConfig) -> Split:
    """Return what a training at the close of `bar` learns from, over the bars up to it: nothing is tested.

    Labels of the last `months` whose life ended at or before `trained_until` = that close − `embargo_days`, the last
    purged share of them for validation, as in production. Raises DataError where some horizon has fewer than
    `min_train_rows` of them.
    """
    head = dataset.head(bar + 1)
    now = head.known_at[-1]
    trained_until = now - days(purge.embargo_days)
    spanned = head.mask & (head.known_at > now - days(months * _MONTH_DAYS))[:, None]
    eligible = spanned & (head.label_end <= trained_until)  # NaT compares false
    uses = with_validation(head, purge, eligible)
    test = np.zeros(len(head), dtype=bool)
    embargoed = (spanned & ~eligible).any(axis=1)
    split = Split("retraining", uses.train, uses.validation, test, trained_until, uses.purged, embargoed)
    require_labels(head, purge, split)
    return split
