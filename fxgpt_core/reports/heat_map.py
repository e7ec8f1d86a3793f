"""Coverage by day as inline SVG: a row of weeks for each year, a cell for each day, colours that survive colour-blind
eyes (blue is there, orange to dark red is missing)."""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.market.quality.coverage import DailyCoverage

COLOURS = {
    "full": "#2c5f9e",
    "most": "#8fb4d9",
    "part": "#f5d99b",
    "few": "#e08a2e",
    "none": "#8c2d04",
    "holiday": "#b9c2cc",
    "weekend": "#eef1f4",
}
"""Fill of each kind of day."""

LABELS = {
    "full": "at least 99 %",
    "most": "95 to 99 %",
    "part": "75 to 95 %",
    "few": "less than 75 %",
    "none": "nothing",
    "holiday": "holiday",
    "weekend": "weekend",
}
"""What each kind of day says in the legend."""

_CELL, _STEP, _LEFT, _TOP, _GAP = 14, 16, 72, 24, 20
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def kinds_of_days(coverage: DailyCoverage) -> NDArray[np.str_]:
    """Return the key of `COLOURS` of each day: (days,)."""
    share = np.nan_to_num(coverage.share, nan=1.0)
    judged = [share >= 0.99, share >= 0.95, share >= 0.75, share > 0]
    kind = np.select(judged, ["full", "most", "part", "few"], "none")
    return np.asarray(np.where(coverage.weekend, "weekend", np.where(coverage.holiday, "holiday", kind)))


def coverage_heat_map(coverage: DailyCoverage) -> str:
    """Return the map as SVG; every trading day carries its figures as a tooltip.

    Within a year columns are weeks and rows Monday to Sunday. Weekends and holidays share one path a colour, so that
    fifteen years stay under half a megabyte.
    """
    kinds, years = kinds_of_days(coverage), coverage.days.astype("datetime64[Y]").astype(int) + 1970
    height = _STEP * 7 + _GAP
    blocks = []
    for index, year in enumerate(np.unique(years)):
        rows = np.flatnonzero(years == year)
        blocks.append(_year(int(year), _TOP + index * height, rows, coverage, kinds))
    total = _TOP + len(blocks) * height
    width = _LEFT + 54 * _STEP
    title = f"Coverage by day, {coverage.days[0]} to {coverage.days[-1]}"
    return (
        f'<svg class="heat" viewBox="0 0 {width} {total}" role="img" aria-label="{title}">'
        f"<title>{title}</title>{_month_names()}{''.join(blocks)}</svg>"
    )


def _year(year: int, top: int, rows: NDArray[np.int64], coverage: DailyCoverage, kinds: NDArray[np.str_]) -> str:
    first = np.datetime64(f"{year}-01-01")
    column = (coverage.days[rows].astype(np.int64) + 3) // 7 - (first.astype(np.int64) + 3) // 7  # weeks from Monday
    weekday = (coverage.days[rows].astype(np.int64) + 3) % 7
    x, y = _LEFT + column * _STEP, top + weekday * _STEP
    parts = [f'<text x="0" y="{top + 12}" class="year">{year}</text>']
    parts += [
        f'<text x="{_LEFT - 8}" y="{top + row * _STEP + 11}" class="day">{name}</text>'
        for row, name in ((0, "Mon"), (2, "Wed"), (4, "Fri"))
    ]
    for kind in ("weekend", "holiday"):
        chosen = np.flatnonzero(kinds[rows] == kind)
        if len(chosen):
            moves = "".join(f"M{x[i]} {y[i]}h{_CELL}v{_CELL}h-{_CELL}z" for i in chosen)
            parts.append(f'<path class="k-{kind}" d="{moves}"/>')
    for i, row in enumerate(rows):
        if kinds[row] not in ("weekend", "holiday"):
            there = coverage.expected[row] - coverage.missing[row]
            parts.append(
                f'<rect x="{x[i]}" y="{y[i]}" width="{_CELL}" height="{_CELL}" class="k-{kinds[row]}">'
                f"<title>{coverage.days[row]}: {there} of {coverage.expected[row]} bars</title></rect>"
            )
    return "".join(parts)


def _month_names() -> str:
    names = []
    for month, name in enumerate(_MONTHS, start=1):
        week = (date(2023, month, 1) - date(2023, 1, 1)).days // 7
        names.append(f'<text x="{_LEFT + week * _STEP + _STEP // 2}" y="12" class="month">{name}</text>')
    return "".join(names)
