"""`DriftVerdict`: whether a window has drifted away from the reference, and whether that is news."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.lifecycle.drift.columns import DriftTable
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.detectors import detector
from fxgpt_core.lifecycle.drift.feed import Pulse
from fxgpt_core.lifecycle.drift.parts import LevelPart, MmdPart, Part
from fxgpt_core.lifecycle.drift.reference import FEATURES, LEVELS, DriftReference
from fxgpt_core.lifecycle.drift.statistics import ks_p_value
from fxgpt_core.lifecycle.drift.volatility import VolatilityPart
from fxgpt_core.lifecycle.drift.watch import OnlineVerdict

_LISTED = 10


@dataclass(frozen=True)
class ColumnDrift:
    """One column: its KS distance `ks`, and `score`, the same in standard deviations of its training windows."""

    name: str
    ks: float
    score: float


@dataclass(frozen=True)
class PartDrift:
    """One part of the reference against the window: `features`, `predictions`, `residuals`, `pit`, online detectors.

    `statistic`: largest standardised distance over columns, or squared MMD, alarm above `threshold`; None where the
    window has too few rows of it. `rows`: of the window; `weeks`: training windows behind the threshold; `lead`: the
    column that moved most, "" where columns are compared together.
    """

    name: str
    statistic: float | None
    threshold: float
    rows: int
    weeks: int
    lead: str = ""

    @property
    def drifted(self) -> bool:
        """Whether the statistic is above its threshold."""
        return self.statistic is not None and self.statistic > self.threshold


@dataclass(frozen=True)
class DriftVerdict:
    """The judgement of one window; times are ISO 8601 in UTC.

    `statistic`, `threshold`, `weeks`, `top`, `rows`: of the features; `parts`: everything judged, features included,
    any of which raises the alarm. `onset`: nothing of the window was in an earlier one of the same `model` that had
    drifted, so this is a new cause; `last_drifted`: the end of the newest window that had, "" where there is none.
    `bonferroni_p` treats rows as independent, is far too small on market data, and is shown, not used. `note` says why
    a window was not judged, else it is empty; `notes`: which parts are not judged, and what they stand on.
    `dead_feed`: nothing has moved for longer than ever in training; that is not drift.
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
    weeks: int
    backend: str
    note: str = ""
    model: str = ""
    parts: tuple[PartDrift, ...] = ()
    notes: tuple[str, ...] = ()
    dead_feed: bool = False
    last_drifted: str = ""

    @property
    def summary(self) -> str:
        """One sentence for a person."""
        window = f"{self.symbol}, {self.window_start[:16]} to {self.window_end[:16]}"
        if self.note:
            return f"{window}: not judged, {self.note}."
        word = "drift begins" if self.onset else "drift goes on" if self.drifted else "no drift"
        lead = f" (most in {self.top[0].name}, KS {self.top[0].ks:.2f})" if self.top else ""
        others = "".join(
            f"; {part.name} {part.statistic:.3g} against {part.threshold:.3g}"
            + (f" (most in {part.lead})" if part.drifted and part.lead else "")
            for part in self.parts
            if part.statistic is not None and part.name != FEATURES
        )
        return (
            f"{window}: {word}, {self.statistic:.1f} against a threshold of {self.threshold:.1f}{lead}{others}, "
            f"from {self.weeks} training weeks."
        )

    def part(self, name: str) -> PartDrift | None:
        """Return what was found of one part, None where it is not judged."""
        return next((part for part in self.parts if part.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        values = asdict(self) | {"top": [asdict(column) for column in self.top], "notes": list(self.notes)}
        return values | {"parts": [asdict(part) | {"drifted": part.drifted} for part in self.parts]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DriftVerdict:
        """Rebuild from `to_dict`; verdicts of earlier versions had no parts."""
        known = {field.name for field in fields(cls)}
        kept = {name: value for name, value in values.items() if name in known}
        parts = [{name: v for name, v in part.items() if name != "drifted"} for part in values.get("parts", ())]
        kept["parts"] = tuple(PartDrift(**part) for part in parts)
        kept["notes"] = tuple(values.get("notes", ()))
        return cls(**{**kept, "top": tuple(ColumnDrift(**column) for column in values["top"])})


def judge(
    reference: DriftReference,
    table: DriftTable,
    now: np.datetime64,
    config: DriftConfig,
    previous: DriftVerdict | None = None,
    said: Mapping[str, DriftTable] | None = None,
    online: OnlineVerdict | None = None,
    pulse: Pulse | None = None,
) -> DriftVerdict:
    """Judge the `window_days` before `now` against the reference: features in `table`, other parts in `said`.

    `online`: what was seen bar by bar up to `now`; its peaks in the window count as a part each. `pulse`: which bars
    moved; a dead feed is said and is no drift: there is nothing to judge, and nothing to learn from it.

    An alarm is an onset only when the previous verdict of the same model was calm (or there is none), and no window
    that overlaps this one had drifted before: one cause, one retraining. References without a model remember the
    previous verdict alone. A window with less than half of the usual rows is not judged and carries on the previous
    state.
    Raises DataError when symbols or columns do not belong together.
    """
    for name, symbol in (("table", table.symbol), ("previous verdict", previous.symbol if previous else table.symbol)):
        if symbol != reference.symbol:
            raise DataError(f"Drift reference of {reference.symbol} was given a {name} of {symbol}.")
    start = now - np.timedelta64(config.window_days, "D")
    was, last = _state(previous, reference.model)
    begun = was or (last != "" and np.datetime64(last.removesuffix("Z")) > start)
    hours, usual = (None, 0.0) if pulse is None else (pulse.silence(now), reference.silence or 0.0)
    if hours is not None and hours > max(config.dead_feed_hours, usual):
        note = f"the feed is dead: no bar that moved for {hours:.0f} trading hours, at most {usual:.0f} in training"
        return _verdict(
            reference, config, start, now, 0, drifted=was, onset=False, note=note, dead_feed=True, last=last
        )
    features, window = reference.features, table.between(start, now).select(reference.features.names)
    if len(window) < features.window_rows / 2:
        note = f"only {len(window)} bars where {features.window_rows} are usual"
        return _verdict(reference, config, start, now, len(window), drifted=was, onset=False, note=note, last=last)
    distances, scores = features.compare(window, detector(config.backend))
    names, order = features.names, np.argsort(-scores)
    found = PartDrift(
        FEATURES, float(scores.max()), features.threshold, len(window), features.weeks, names[order[0]]
    )  # fmt: skip
    others = _others(reference, {LEVELS: table, **(said or {})}, start, now, config)
    parts = (found, *others, *_streams(online))
    drifted = any(part.drifted for part in parts)
    p_value = ks_p_value(float(distances.max()), len(features.values), len(window))
    leads = [names.index(part.lead) for part in others if part.drifted and part.lead in names]
    shown = dict.fromkeys([*order[: _LISTED - len(leads)].tolist(), *leads])
    return _verdict(
        reference, config, start, now, len(window), drifted=drifted, onset=drifted and not begun, last=last,
        statistic=float(scores.max()), bonferroni_p=min(1.0, p_value * len(distances)), parts=parts,
        top=tuple(ColumnDrift(names[i], float(distances[i]), float(scores[i])) for i in shown),
    )  # fmt: skip


def unjudged(
    symbol: str, model: str, now: np.datetime64, config: DriftConfig, note: str, previous: DriftVerdict | None
) -> DriftVerdict:
    """Return the verdict where there is no reference to judge against; the previous state of the model goes on."""
    was, last = _state(previous, model)
    start, end = (f"{t.astype('datetime64[s]')}Z" for t in (now - np.timedelta64(config.window_days, "D"), now))
    return DriftVerdict(
        symbol, start, end, 0, 0.0, 0.0, was, False, (), 1.0, 0, config.backend, note=note, model=model,
        last_drifted=last,
    )  # fmt: skip


def _state(previous: DriftVerdict | None, model: str) -> tuple[bool, str]:
    """Return whether the model's drift goes on, and when a window of it last drifted."""
    if previous is None or previous.model != model:
        return False, ""
    return previous.drifted, previous.last_drifted or (previous.window_end if previous.drifted and model else "")


def _others(
    reference: DriftReference,
    said: Mapping[str, DriftTable],
    start: np.datetime64,
    now: np.datetime64,
    config: DriftConfig,
) -> list[PartDrift]:
    """Compare the parts besides the features; those that the caller gives nothing of have no statistic."""
    found = []
    for name, part in reference.parts.items():
        if name == FEATURES:
            continue
        statistic, rows, lead = (None, 0, "") if name not in said else _compared(part, said[name], start, now, config)
        found.append(PartDrift(name, statistic, part.threshold, rows, part.weeks, lead))
    return found


def _streams(online: OnlineVerdict | None) -> list[PartDrift]:
    streams = () if online is None else online.streams
    return [PartDrift(stream.name, stream.peak, stream.threshold, 0, stream.weeks) for stream in streams]


def _compared(
    part: Part, table: DriftTable, start: np.datetime64, now: np.datetime64, config: DriftConfig
) -> tuple[float | None, int, str]:
    """Return the statistic of a part in (start, now], None where it has too few rows there, these, and what moved."""
    if isinstance(part, VolatilityPart):
        statistic, way, rows = part.compare(table, start, now)
        return (statistic, rows, way) if rows >= part.window_rows / 2 else (None, rows, "")
    window = table.between(start, now).select(part.names)
    window = window.complete() if isinstance(part, MmdPart) else window
    if len(window) < part.window_rows / 2:
        return None, len(window), ""
    chosen = detector(config.backend)
    if isinstance(part, MmdPart):
        return part.compare(window, chosen, config.mmd_rows), len(window), ""
    _, scores = part.compare(window) if isinstance(part, LevelPart) else part.compare(window, chosen)
    return float(scores.max()), len(window), part.names[int(scores.argmax())]


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
    parts: tuple[PartDrift, ...] = (),
    top: tuple[ColumnDrift, ...] = (),
    note: str = "",
    dead_feed: bool = False,
    last: str = "",
) -> DriftVerdict:
    end = f"{now.astype('datetime64[s]')}Z"
    return DriftVerdict(
        symbol=reference.symbol,
        window_start=f"{start.astype('datetime64[s]')}Z",
        window_end=end,
        rows=rows,
        statistic=statistic,
        threshold=reference.features.threshold,
        drifted=drifted,
        onset=onset,
        top=top,
        bonferroni_p=bonferroni_p,
        weeks=reference.features.weeks,
        backend=config.backend,
        note=note,
        model=reference.model,
        parts=parts,
        notes=reference.notes,
        dead_feed=dead_feed,
        last_drifted=end if drifted and reference.model and not note else last,
    )
