"""Splits drawn over their dates: one row a split, readable on light and on dark pages, without any script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError

if TYPE_CHECKING:
    from fxgpt_core.features.dataset import Split

Times = NDArray[np.datetime64]

ROLES = {
    "train": "#4a86c5",
    "validation": "#3fa796",
    "purged": "#d9534f",
    "embargoed": "#e8a33d",
    "test": "#8b6fc0",
}
"""What a bar can be, with a colour of middling lightness that stands out from white and from black."""

_WIDTH, _ROW, _GAP, _TOP, _RIGHT = 1000, 18, 6, 12, 14
_THINNEST = 1.5  # a purged hour must still be seen on an axis of years


@dataclass(frozen=True)
class Span:
    """An unbroken run of bars of one role: base bars [begin, end)."""

    role: str
    begin: int
    end: int


def spans(split: Split) -> list[Span]:
    """Return the runs of equal role in time order; bars without a role are left out.

    A bar that trains some horizons and lost another horizon's label counts as purged or embargoed, so that what was
    taken away is seen.
    """
    code = np.zeros(len(split.test), dtype=np.int64)  # 0: unused
    masks = {
        "train": split.train.any(axis=1),
        "validation": split.validation.any(axis=1),
        "embargoed": split.embargoed,
        "purged": split.purged,
        "test": split.test,
    }
    names = list(ROLES)
    for name, mask in masks.items():
        if mask is not None:
            code[mask] = names.index(name) + 1
    starts = np.flatnonzero(np.r_[True, np.diff(code) != 0]) if len(code) else np.zeros(0, dtype=np.int64)
    ends = [*starts[1:], len(code)]
    runs = zip(starts, ends, strict=True)
    return [Span(names[code[begin] - 1], int(begin), int(end)) for begin, end in runs if code[begin]]


def draw_splits(splits: Sequence[Split], known_at: Times, title: str) -> str:
    """Return an HTML fragment: title, legend, and one bar a split over the dates `known_at` (bars,).

    It needs no script, style sheet or network; text takes the colour and font of the page that it stands on. Spans tell
    their role, dates and number of bars when pointed at. Raises DataError without splits, or where they have other
    bars than `known_at`.
    """
    if not splits or not len(known_at):
        raise DataError("There is no split to draw.")
    for split in splits:
        if split.test.shape != known_at.shape:
            raise DataError(f"Split {split.name} has {len(split.test)} bars, the dates are {len(known_at)}.")
    left = 16 + 7.2 * max(len(split.name) for split in splits)
    axis = _Axis(known_at[0], known_at[-1], left, _WIDTH - _RIGHT)
    height = _TOP + len(splits) * (_ROW + _GAP) + 30
    rows = [_row(split, known_at, axis, _TOP + number * (_ROW + _GAP)) for number, split in enumerate(splits)]
    label = f"{title}: {len(splits)} splits from {_day(known_at[0])} to {_day(known_at[-1])}"
    return (
        '<figure class="splits" style="margin:0;max-width:100%">'
        f'<figcaption style="margin:0 0 .4em"><strong>{escape(title)}</strong>{_legend()}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="100%" role="img" aria-label="{escape(label)}" '
        'font-family="inherit" font-size="12" fill="currentColor">'
        f"{axis.draw(_TOP - 8, height - 24)}{''.join(rows)}</svg></figure>"
    )


def _legend() -> str:
    """Return the meaning of the colours as one line of HTML."""
    square = "display:inline-block;width:.8em;height:.8em;border-radius:2px;margin:0 .35em 0 1em;vertical-align:-.05em"
    items = (
        f'<span style="white-space:nowrap"><i style="{square};background:{c}"></i>{r}</span>' for r, c in ROLES.items()
    )
    return f'<span style="font-size:.85em">{"".join(items)}</span>'


def _row(split: Split, known_at: Times, axis: _Axis, top: float) -> str:
    """Draw one split: its name, a faint line over all of history, its spans, and ticks where training restarts."""
    found = spans(split)
    wide = [span for span in found if span.role not in ("purged", "embargoed")]
    thin = [span for span in found if span.role in ("purged", "embargoed")]
    shapes = [_rectangle(span, known_at, axis, top) for span in (*wide, *thin)]  # thin ones last: nothing hides them
    middle = top + _ROW / 2
    marks = [
        f'<path d="M{axis.x(known_at[bar]):.1f} {top - 2} v{_ROW + 4}" stroke="currentColor" stroke-width="1.2">'
        f"<title>training restarts {_day(known_at[bar])}</title></path>"
        for bar in split.restarts
    ]
    return (
        f'<text x="{axis.left - 8:.1f}" y="{middle + 4}" text-anchor="end">{escape(split.name)}</text>'
        f'<path d="M{axis.left:.1f} {middle} H{axis.right:.1f}" stroke="currentColor" stroke-opacity=".2"/>'
        f"{''.join(shapes)}{''.join(marks)}"
    )


def _rectangle(span: Span, known_at: Times, axis: _Axis, top: float) -> str:
    """Draw a span up to where the next one begins, so that closed markets leave no holes."""
    begin, last = known_at[span.begin], known_at[span.end - 1]
    left, right = axis.x(begin), axis.x(known_at[min(span.end, len(known_at) - 1)])
    width = max(right - left, _THINNEST)
    label = f"{span.role}: {_minute(begin)} to {_minute(last)} UTC, {span.end - span.begin:,} bars"
    return (
        f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_ROW}" fill="{ROLES[span.role]}">'
        f"<title>{label}</title></rect>"
    )


@dataclass(frozen=True)
class _Axis:
    """Dates to pixels."""

    first: np.datetime64
    last: np.datetime64
    left: float
    right: float

    def x(self, moment: np.datetime64) -> float:
        """Return the horizontal position of a moment."""
        whole = max(float((self.last - self.first) / np.timedelta64(1, "ns")), 1.0)
        share = float((moment - self.first) / np.timedelta64(1, "ns")) / whole
        return self.left + share * (self.right - self.left)

    def draw(self, top: float, bottom: float) -> str:
        """Draw a grid line and a date at round dates."""
        parts = []
        for moment, text in _ticks(self.first, self.last):
            x = self.x(moment)
            parts.append(
                f'<path d="M{x:.1f} {top} V{bottom}" stroke="currentColor" stroke-opacity=".18"/>'
                f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill-opacity=".8">{text}</text>'
            )
        return "".join(parts)


def _ticks(first: np.datetime64, last: np.datetime64) -> list[tuple[np.datetime64, str]]:
    """Return at most a dozen round dates within the span, and what to write below them."""
    days = int((last - first) / np.timedelta64(1, "D"))
    if days < 45:
        step = max(1, -(-days // 10))
        dates = np.arange(first.astype("datetime64[D]") + 1, last.astype("datetime64[D]") + 1, step)
        return [(date.astype("datetime64[ns]"), str(date)[5:]) for date in dates]
    months = days // 30
    step = next(s for s in (1, 2, 3, 6, 12, 24, 60, 120, 1200) if months <= 12 * s)
    month = first.astype("datetime64[M]") + 1
    month += (-int(month.astype(int))) % step
    marks = np.arange(month, last.astype("datetime64[M]") + 1, step)
    return [(mark.astype("datetime64[ns]"), str(mark) if step < 12 else str(mark)[:4]) for mark in marks]


def _day(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[D]"))


def _minute(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[m]")).replace("T", " ")
