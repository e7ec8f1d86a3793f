"""`DriftVerdict`: whether a window has drifted away from the reference, and whether that is news."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.lifecycle.drift.columns import DriftTable
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.detectors import detector
from fxgpt_core.lifecycle.drift.reference import DriftReference, thinned

_LISTED = 10


@dataclass(frozen=True)
class ColumnDrift:
    """One column: its KS distance `ks`, and `score`, the same in standard deviations of its training windows."""

    name: str
    ks: float
    score: float


@dataclass(frozen=True)
class DriftVerdict:
    """The judgement of one window; times are ISO 8601 in UTC.

    `statistic`: largest score over columns, alarm above `threshold`. `onset`: the verdict before this one was calm, so
    this is a new cause. `bonferroni_p` treats rows as independent, is far too small on market data, and is shown, not
    used. `prediction_mmd`: squared MMD of predictions, alarm above `prediction_threshold`; None where not judged.
    `weeks`: training windows behind the threshold. `note` says why a window was not judged, else it is empty.
    """

    symbol: str
    window_start: str
    window_end: str
    rows: int
    statistic: float
    threshold: float
    drifted: bool
    onset: bool
    top: tuple[ColumnDrift, ...]
    bonferroni_p: float
    prediction_mmd: float | None
    prediction_threshold: float | None
    weeks: int
    backend: str
    note: str = ""

    @property
    def summary(self) -> str:
        """One sentence for a person."""
        window = f"{self.symbol}, {self.window_start[:16]} to {self.window_end[:16]}"
        if self.note:
            return f"{window}: not judged, {self.note}."
        word = "drift begins" if self.onset else "drift goes on" if self.drifted else "no drift"
        lead = f" (most in {self.top[0].name}, KS {self.top[0].ks:.2f})" if self.top else ""
        said = (
            f"; predictions {self.prediction_mmd:.4f} against {self.prediction_threshold:.4f}"
            if self.prediction_mmd is not None and self.prediction_threshold is not None
            else ""
        )
        return (
            f"{window}: {word}, {self.statistic:.1f} against a threshold of {self.threshold:.1f}{lead}{said}, "
            f"from {self.weeks} training weeks."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self) | {"top": [asdict(column) for column in self.top]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DriftVerdict:
        """Rebuild from `to_dict`."""
        return cls(**{**values, "top": tuple(ColumnDrift(**column) for column in values["top"])})


def judge(
    reference: DriftReference,
    table: DriftTable,
    now: np.datetime64,
    config: DriftConfig,
    previous: DriftVerdict | None = None,
    predictions: DriftTable | None = None,
) -> DriftVerdict:
    """Judge the `window_days` before `now` against the reference.

    An alarm is an onset only when the previous verdict was calm (or there is none): one cause, one retraining. A window
    with less than half of the usual rows is not judged and carries on the previous state.
    Raises DataError when symbols or columns do not belong together.
    """
    for name, symbol in (("table", table.symbol), ("previous verdict", previous.symbol if previous else table.symbol)):
        if symbol != reference.symbol:
            raise DataError(f"Drift reference of {reference.symbol} was given a {name} of {symbol}.")
    start = now - np.timedelta64(config.window_days, "D")
    window = table.between(start, now).select(reference.names)
    was = previous is not None and previous.drifted
    if len(window) < reference.window_rows / 2:
        note = f"only {len(window)} complete bars where {reference.window_rows} are usual"
        return _verdict(reference, config, start, now, len(window), drifted=was, onset=False, note=note)
    chosen = detector(config.backend)
    distances, p_values = chosen.ks(reference.values.astype(np.float64), window.values.astype(np.float64))
    scores = (distances - reference.centre) / reference.spread
    order = np.argsort(-scores)
    mmd = _prediction_mmd(reference, predictions, start, now, config)
    said = reference.predictions
    drifted = bool(scores.max() > reference.threshold) or (
        mmd is not None and said is not None and mmd > said.threshold
    )
    return _verdict(
        reference, config, start, now, len(window), drifted=drifted, onset=drifted and not was,
        statistic=float(scores.max()), bonferroni_p=float(min(1.0, p_values.min() * len(p_values))), prediction_mmd=mmd,
        top=tuple(
            ColumnDrift(reference.names[i], float(distances[i]), float(scores[i])) for i in order[:_LISTED]
        ),
    )  # fmt: skip


def _verdict(
    reference: DriftReference,
    config: DriftConfig,
    start: np.datetime64,
    now: np.datetime64,
    rows: int,
    *,
    drifted: bool,
    onset: bool,
    statistic: float = 0.0,
    bonferroni_p: float = 1.0,
    prediction_mmd: float | None = None,
    top: tuple[ColumnDrift, ...] = (),
    note: str = "",
) -> DriftVerdict:
    said = reference.predictions
    return DriftVerdict(
        symbol=reference.symbol,
        window_start=f"{start.astype('datetime64[s]')}Z",
        window_end=f"{now.astype('datetime64[s]')}Z",
        rows=rows,
        statistic=statistic,
        threshold=reference.threshold,
        drifted=drifted,
        onset=onset,
        top=top,
        bonferroni_p=bonferroni_p,
        prediction_mmd=prediction_mmd,
        prediction_threshold=said.threshold if said is not None and prediction_mmd is not None else None,
        weeks=reference.weeks,
        backend=config.backend,
        note=note,
    )


def _prediction_mmd(
    reference: DriftReference,
    predictions: DriftTable | None,
    start: np.datetime64,
    now: np.datetime64,
    config: DriftConfig,
) -> float | None:
    said = reference.predictions
    if said is None or predictions is None:
        return None
    window = predictions.between(start, now).select(said.names)
    if len(window) < 10:
        return None
    values = thinned((window.values - said.location) / said.scale, config.mmd_rows)
    return detector(config.backend).mmd2(said.values, values, said.sigma)
