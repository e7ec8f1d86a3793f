"""Which clock wrote naive stamps: inferred from the weeks, or refused; never guessed (SPEC 21).

A clock is believed when it puts the weekly opens and closes on 17:00 New York and every other clock that would convert
the stamps otherwise explains less. Where a venue's weeks open late or close early, so that one edge fits one clock and
the other edge another, the rhythm of the day must decide. A clock may change between two weeks of a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.clocks.activity import agrees
from fxgpt_core.market.clocks.changes import segments
from fxgpt_core.market.clocks.time_zones import CANDIDATES, NAMED, Zone
from fxgpt_core.market.clocks.week_fit import Bars, Fit, Weeks, find_weeks, fit_weeks
from fxgpt_core.market.zones import Times

ASK = "say it with --tz, for example --tz UTC or --tz 'New York+7'."
_SHARE, _MARGIN = 0.7, 2  # of the weekly opens and closes; by how many more than the next clock
_EDGE_SHARE, _OVERHANG_SHARE = 0.8, 0.1
_MIN_SEGMENT = 4
_MANY_EDGES = 12
_WEEKS_NAMED = 3


@dataclass(frozen=True)
class Clock:
    """The clock of a file: `pieces` are zones, each with the first naive stamp from which it holds (NaT: the start)."""

    pieces: tuple[tuple[np.datetime64, Zone], ...]
    how: str
    warnings: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """Its name, or its names with the day of each change."""
        first, *later = self.pieces
        return first[1].name + "".join(f", from {day(start)} {zone.name}" for start, zone in later)

    def to_utc(self, local: Times) -> Times:
        """Return UTC instants of naive stamps: (rows,) datetime64[ns]."""
        times = self.pieces[0][1].to_utc(local)
        for start, zone in self.pieces[1:]:
            later = local >= start
            times[later] = zone.to_utc(local[later])
        return times


def day(moment: np.datetime64) -> str:
    """Return the date of a moment."""
    return str(moment.astype("datetime64[D]"))


def infer_clock(bars: Bars) -> Clock:
    """Return the clock of naive stamps and how it is known.

    Raises BadInputError when no clock, or more than one that would convert the stamps otherwise, explains the weeks,
    and, naming the day, when the clock seems to change and the change cannot be told exactly.
    """
    if bars.length.minutes > 60:
        raise BadInputError(f"The time zone of {bars.length} stamps cannot be inferred: {ASK}")
    weeks = find_weeks(bars)
    if weeks.edges == 0:
        raise BadInputError(f"The time zone of the stamps cannot be inferred without a weekend in the file: {ASK}")
    fit = fit_weeks(weeks, CANDIDATES)
    bounds = segments(fit)
    verdicts = [_decide(bars, weeks, fit, first, last) for first, last in bounds]
    pieces = [(np.datetime64("NaT", "ns"), verdicts[0].zone)]
    for before, after in pairwise(verdicts):
        if not _alike(after.zone, before.zone, bars, weeks, before.first, after.last):
            pieces.append((_change(weeks, fit, before, after), after.zone))
    if len(pieces) == 1 and len(verdicts) > 1:  # only the venue's hours changed, not its clock
        how = f"inferred: read as {verdicts[0].zone.name}, its weeks change their hours: "
        return Clock(tuple(pieces), how + "; ".join(verdict.how for verdict in verdicts))
    if len(pieces) == 1:
        return Clock(tuple(pieces), f"inferred: read as {verdicts[0].zone.name}, {verdicts[0].how}")
    what = "; ".join(f"{verdict.zone.name}: {verdict.how}" for verdict in verdicts)
    changes = tuple(f"The clock changes on {day(start)} to {zone.name}." for start, zone in pieces[1:])
    return Clock(tuple(pieces), f"inferred, the clock changes within the file: {what}", changes)


@dataclass(frozen=True)
class _Verdict:
    """The clock of the weeks [first, last); `edges` says which of opens and closes it was told by."""

    zone: Zone
    first: int
    last: int
    edges: tuple[str, ...]
    how: str


def _decide(bars: Bars, weeks: Weeks, fit: Fit, first: int, last: int) -> _Verdict:
    part, inside = fit.between(first, last), weeks.between(first, last)
    opened, closed = part.opened.sum(axis=1), part.closed.sum(axis=1)
    missed, scores = _missed(part), opened + closed
    best = int(np.argmin(missed))
    rivals = _rivals(bars, weeks, first, last, best)
    clear = _clear(missed, rivals, best)
    n_opens, n_closes = (int((~np.isnat(edge)).sum()) for edge in (inside.first, inside.last))
    both = opened[best] >= 0.5 * n_opens and closed[best] >= 0.5 * n_closes
    if both and scores[best] >= _SHARE * inside.edges and clear:
        _refuse_shifts(inside, part, best)
        how = f"{scores[best]} of {inside.edges} weekly opens and closes fall on 17:00 New York"
        return _Verdict(CANDIDATES[best], first, last, ("opens", "closes"), how + _next(part, missed, rivals, best))
    told = _by_one_edge(bars, weeks, part, first, last, (n_opens, n_closes))
    if told is not None:
        return told
    next_best = rivals[int(np.argmin(missed[rivals]))] if len(rivals) else best
    rival = f"{CANDIDATES[next_best].name} {scores[next_best]}" if next_best != best else "no other clock more"
    since = "" if first == 0 else f" from {day(weeks.first[first])} on"
    raise BadInputError(
        f"The time zone of the stamps is unclear{since}: {CANDIDATES[best].name} explains {scores[best]} of "
        f"{inside.edges} weekly opens and closes, {rival}; {ASK}"
    )


def _clear(missed: NDArray[np.float64], rivals: NDArray[np.int64], best: int) -> bool:
    """Return whether the best clock leads by two edges; by one, where a usual clock that nothing speaks against leads
    a clock that files are hardly ever in."""
    if not len(rivals):
        return True
    usual = rivals[rivals < len(NAMED)]
    rare = rivals[rivals >= len(NAMED)]
    needed = 1 if best < len(NAMED) and missed[best] == 0 else _MARGIN
    leads = [(usual, _MARGIN), (rare, needed)]
    return all(not len(rows) or missed[rows].min() >= missed[best] + lead for rows, lead in leads)


def _missed(part: Fit) -> NDArray[np.float64]:
    """Return what speaks against each clock: (zones,)."""
    return np.asarray(part.open_misfit.sum(axis=1) + part.close_misfit.sum(axis=1))


def _next(part: Fit, missed: NDArray[np.float64], rivals: NDArray[np.int64], best: int) -> str:
    """Return in how many weeks the next of the usual clocks would be off, where that is fewer than most."""
    usual = [row for row in rivals if row < len(NAMED)]
    if not usual:
        return ""
    rival = min(usual, key=lambda row: missed[row])
    misfits = (part.open_misfit + part.close_misfit)[[rival, best]] > 0
    weeks = int((misfits[0] & ~misfits[1]).sum())
    close = weeks <= part.late.shape[1] / 2
    return f"; {CANDIDATES[rival].name} would be wrong in {weeks} of {part.late.shape[1]} weeks" if close else ""


def _by_one_edge(bars: Bars, weeks: Weeks, part: Fit, first: int, last: int, shown: tuple[int, int]) -> _Verdict | None:
    """Return the clock where only opens or only closes are on time and the rhythm of the day confirms the hour."""
    stretch = bars.between(*_rows(bars, weeks, first, last))
    overhang = part.overhang.sum(axis=1) <= _OVERHANG_SHARE * part.late.shape[1]
    found: list[tuple[float, int, int, str, bool, str]] = []
    for edge, of in zip(("opens", "closes"), shown, strict=True):
        on_time, misfit, other = _edge(part, edge)
        count = on_time.sum(axis=1)
        for row in np.flatnonzero((count >= max(_EDGE_SHARE * of, 2)) & overhang):
            agreed, witness = agrees(stretch, CANDIDATES[row])
            if agreed is not False:
                against = float(misfit[row].sum()) + _strays(other[0][row], other[1][row])
                found.append((against, int(row), int(count[row]), edge, agreed is True, witness))
    if not found:
        return None
    least, row, fits, edge, agreed, witness = min(found)
    rivals = set(_rivals(bars, weeks, first, last, row).tolist())
    if not agreed or any(other in rivals and against < least + _MARGIN for against, other, *_ in found):
        return None
    _refuse_shifts(weeks.between(first, last), part, row)
    of = shown[0] if edge == "opens" else shown[1]
    how = f"{fits} of {of} weekly {edge} fall on 17:00 New York and {witness}"
    return _Verdict(CANDIDATES[row], first, last, (edge,), how)


def _edge(
    part: Fit, edge: str
) -> tuple[NDArray[np.bool_], NDArray[np.float64], tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Return where one edge is on time, what speaks against each clock there, and the other edge's hours and clips."""
    if edge == "opens":
        return part.opened, part.open_misfit, (part.early, part.early_clipped)
    return part.closed, part.close_misfit, (part.late, part.late_clipped)


def _strays(hours: NDArray[np.float64], clipped: NDArray[np.bool_]) -> int:
    """Return in how many weeks an edge that is off is not off as usual: a venue late by the clock is so every week."""
    known = hours[~np.isnan(hours) & ~clipped]
    quarters = np.round(known * 4)
    return len(known) - int(np.unique(quarters, return_counts=True)[1].max()) if len(known) else 0


def _rivals(bars: Bars, weeks: Weeks, first: int, last: int, best: int) -> NDArray[np.int64]:
    """Return the candidates that would convert some stamp of the weeks otherwise than the best one."""
    sample = _sample(bars, weeks, first, last)
    reference = CANDIDATES[best].to_utc(sample)
    return np.flatnonzero([not np.array_equal(zone.to_utc(sample), reference) for zone in CANDIDATES])


def _alike(one: Zone, other: Zone, bars: Bars, weeks: Weeks, first: int, last: int) -> bool:
    sample = _sample(bars, weeks, first, last)
    return np.array_equal(one.to_utc(sample), other.to_utc(sample))


def _sample(bars: Bars, weeks: Weeks, first: int, last: int) -> Times:
    """Return the first and last stamp of every day: clocks that read these alike read all alike."""
    local = bars.local[slice(*_rows(bars, weeks, first, last))]
    days = local.astype("datetime64[D]")
    starts = np.flatnonzero(np.r_[True, days[1:] != days[:-1]])
    return np.asarray(np.unique(np.r_[local[starts], local[np.r_[starts[1:] - 1, len(local) - 1]]]))


def _rows(bars: Bars, weeks: Weeks, first: int, last: int) -> tuple[int, int]:
    return int(weeks.starts[first]), int(weeks.starts[last]) if last < len(weeks.starts) else len(bars.local)


def _whole_hours_off(part: Fit, row: int) -> NDArray[np.bool_]:
    """Return which weeks open and close the same whole hours off: (weeks,).

    How late or early the venue is in most weeks is not counted; nor is an edge that the venue's own weekend hides.
    """
    late, early = part.late[row] - _usual(part.late[row]), part.early[row] - _usual(part.early[row])
    whole = (np.abs(late + early) < 0.1) & (np.abs(late) > 0.9) & (np.abs(late - np.round(late)) < 0.1)
    return np.asarray(whole & ~(part.late_clipped[row] | part.early_clipped[row]))


def _odd_weeks(weeks: Weeks, part: Fit, zone: Zone) -> str:
    """Return which weeks of stamps that mostly fit a claimed clock are those of another; empty where none is."""
    off = np.flatnonzero(_whole_hours_off(part, 0))
    if not len(off):
        return ""
    hours = [int(np.round(part.late[0, week] - _usual(part.late[0]))) for week in off[:_WEEKS_NAMED]]
    named = ", ".join(f"{day(weeks.first[week])} ({late:+d} h)" for week, late in zip(off, hours, strict=False))
    more = f" and {len(off) - _WEEKS_NAMED} more" if len(off) > _WEEKS_NAMED else ""
    return f"read as {zone.name}, whole weeks open and close at the wrong hour: that of {named}{more}"


def _refuse_shifts(weeks: Weeks, part: Fit, best: int) -> None:
    """Raise BadInputError where a week opens and closes the same whole hours off: other stamps than the rest."""
    late = part.late[best]
    # One bar after the close is not rare; in a few weeks of data it may be all that shows of another clock.
    most = -1.9 if weeks.edges >= _MANY_EDGES else -0.9
    outside = (part.late[best] < most) | (part.early[best] < most)
    off = np.flatnonzero(_whole_hours_off(part, best) | outside)
    if not len(off):
        return
    week = int(off[0])
    when = weeks.first[week] if not np.isnat(weeks.first[week]) else weeks.last[week]
    raise BadInputError(
        f"The stamps do not keep one clock: {CANDIDATES[best].name} fits most weeks, but {len(off)} of {len(late)}, "
        f"the first about {day(when)}, lie whole hours off; import the parts on their own, or {ASK}"
    )


def _usual(hours: NDArray[np.float64]) -> float:
    """Return by how many hours an edge is mostly off, to the quarter of an hour."""
    known = hours[~np.isnan(hours)]
    if not len(known):
        return 0.0
    quarters, counts = np.unique(np.round(known * 4), return_counts=True)
    return float(quarters[counts.argmax()] / 4)


def _change(weeks: Weeks, fit: Fit, before: _Verdict, after: _Verdict) -> np.datetime64:
    """Return the naive stamp from which the second clock holds; raises BadInputError where it could be another week."""
    at = after.first
    short = min(before.last - before.first, after.last - after.first) < _MIN_SEGMENT
    edges = [edge for edge in before.edges if edge in after.edges]
    old, new = CANDIDATES.index(before.zone), CANDIDATES.index(after.zone)
    hits = np.zeros((2, fit.late.shape[1]))
    for edge, matrix in (("opens", fit.opened), ("closes", fit.closed)):
        if edge in edges:
            hits += matrix[[old, new]]
    gain = hits[0] - hits[1]
    clear = bool(edges) and gain[at - 1] > 0 and gain[at] < 0
    if clear:
        total = np.array([gain[before.first : k].sum() for k in range(before.first, after.last + 1)])
        clear = int((total == total.max()).sum()) == 1 and before.first + int(total.argmax()) == at
    if short or not clear:
        raise BadInputError(
            f"The clock of the stamps seems to change about {day(weeks.first[at])} from {before.zone.name} to "
            f"{after.zone.name}, and not clearly enough to say when: import the parts on their own, or {ASK}"
        )
    return np.datetime64(weeks.first[at], "ns")


def contradiction(bars: Bars, zone: Zone) -> str:
    """Return what in the weeks of the stamps clearly speaks against a claimed clock; empty where nothing does."""
    if bars.length.minutes > 60 or not len(bars.local):
        return ""
    weeks = find_weeks(bars)
    if weeks.edges == 0:
        return ""
    part = fit_weeks(weeks, [zone])
    off = (part.open_misfit + part.close_misfit)[0] > 0
    fits = int(part.opened.sum() + part.closed.sum())
    try:
        clock = infer_clock(bars)
    except BadInputError:
        if fits >= 0.4 * weeks.edges:
            return _odd_weeks(weeks, part, zone)
        return f"only {fits} of {weeks.edges} weekly opens and closes fall on 17:00 New York if read as {zone.name}"
    sample = _sample(bars, weeks, 0, len(weeks.first))
    if np.array_equal(clock.to_utc(sample), zone.to_utc(sample)) or not off.any():
        return ""
    shown = np.where(np.isnat(weeks.first), weeks.last, weeks.first)
    return (
        f"read as {zone.name}, {int(off.sum())} of {len(off)} weeks open or close at the wrong hour, the first about "
        f"{day(shown[off][0])}; the stamps fit {clock.name} ({clock.how.removeprefix('inferred: ')})"
    )
