"""Which feature columns a model can learn from: known often enough, moving, finite and not running away.

Nothing here changes stored columns. `Coverage.of` judges the training span of one fit (or any other span, such as a
month, to warn of it); what it names as dropped is left out of that model alone, in training and in forecasts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import DataError

Floats = NDArray[np.float64]

NORMAL_MAD = 1.4826  # of a normal distribution: standard deviation / median absolute deviation
_NOTHING = 1e-10  # smaller deviations are rounding: features are returns, ratios and shares
_NOISE = 1e-6  # of the centre: float32 noise around a constant
_NAMED, _REASONS = 6, 4  # columns of a reason, and reasons, that a log line names
_BLOCK = 64  # columns judged together, so that wide tables need little memory

log = logging.getLogger(__name__)


class CoverageConfig(Config):
    """When a column is left out of a model (SPEC 2)."""

    min_share: float = Field(default=0.15, ge=0, le=1, description="Share of training rows that a column needs.")
    explosive_limit: float = Field(
        default=100.0, gt=1, description="Robust deviations from the median beyond which a value is explosive."
    )
    explosive_least: float = Field(
        default=10.0,
        ge=0,
        description="Distance from the median up to which no value is explosive, whatever the others are: features are "
        "ratios, logs and shares, and some are nearly 0 most of the time.",
    )
    explosive_share: float = Field(
        default=0.01, ge=0, le=1, description="Share of explosive or infinite values above which a column is left out."
    )


@dataclass(frozen=True)
class Coverage:
    """Verdict on `rows` rows of (rows, columns) values.

    `centre`, `spread`: (columns,) median, and median absolute deviation of the values that differ from it, as a
    normal standard deviation; 0 where nothing is known. The values that equal the median are left out of the spread
    because many columns (patterns, events) are silent most of the time. `reach`: (columns,) distance from the centre
    beyond which a value is explosive. `dropped`: column -> why a model leaves it out. `suspect`: column -> what is odd
    about a column that stays.
    """

    rows: int
    centre: Floats
    spread: Floats
    reach: Floats
    dropped: Mapping[int, str] = field(default_factory=dict)
    suspect: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: NDArray[Any], config: CoverageConfig | None = None) -> Coverage:
        """Judge every column of `values` (rows, columns); raises DataError when there is no row."""
        config = config or CoverageConfig()
        rows, columns = values.shape
        if not rows:
            raise DataError("Columns cannot be judged on no row: give the rows of the training span.")
        centre, spread, reach = np.zeros(columns), np.zeros(columns), np.zeros(columns)
        dropped: dict[int, str] = {}
        suspect: dict[int, str] = {}
        for first in range(0, columns, _BLOCK):
            block = np.ascontiguousarray(values[:, first : first + _BLOCK].T, dtype=np.float64)
            for index, column in enumerate(block, first):
                known = column[np.isfinite(column)]
                infinite = int(np.isinf(column).sum())
                centre[index], spread[index] = _robust(known)
                reach[index] = max(config.explosive_limit * spread[index], config.explosive_least)
                beyond = int((np.abs(known - centre[index]) > reach[index]).sum())
                why, leave = _verdict(rows, len(known), infinite, beyond, centre[index], spread[index], config)
                if why:
                    (dropped if leave else suspect)[index] = why
        return cls(rows, centre, spread, reach, dropped, suspect)

    def sentences(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return a sentence per column that is dropped or odd, dropped ones first."""
        left = [f"{names[i]} left out: {why}" for i, why in self.dropped.items()]
        return (*left, *(f"{names[i]} is {why}; it stays" for i, why in self.suspect.items()))


def _robust(known: Floats) -> tuple[float, float]:
    """Return the median and the spread of what differs from it."""
    if not len(known):
        return 0.0, 0.0
    centre = float(np.median(known))
    away = np.abs(known - centre)
    moved = away[away > max(_NOTHING, _NOISE * abs(centre))]
    return centre, NORMAL_MAD * float(np.median(moved)) if len(moved) else 0.0


def _verdict(
    rows: int, known: int, infinite: int, beyond: int, centre: float, spread: float, config: CoverageConfig
) -> tuple[str, bool]:
    """Return what is wrong with a column, empty where nothing is, and whether a model leaves it out."""
    if infinite > config.explosive_share * rows:
        return f"infinite in {infinite} of {rows} rows", True
    if known < max(1.0, config.min_share * rows):
        if not known:
            return f"all missing in {rows} rows", True
        return f"mostly missing, known in {known} of {rows} rows ({config.min_share:.0%} needed)", True
    if not spread:
        return f"constant at {centre:.6g}", True
    if beyond + infinite > config.explosive_share * known:
        return f"explosive, {beyond} of {known} values beyond {config.explosive_limit:g} robust deviations", True
    if infinite:
        return f"infinite in {infinite} of {rows} rows", False
    if beyond:
        return f"explosive in {beyond} of {known} rows, which are cut at the limit", False
    return "", False


def warn(where: str, coverage: Coverage, names: Sequence[str]) -> None:
    """Log which columns are left out, by reason, and which odd ones stay; as a warning where they are half or more.

    A log line names some of them; `Coverage.sentences` has all, for the record.
    `where`: whose columns these are, such as `ridge of EURUSD, split fold0`.
    """
    for verdict, found in (("left out", coverage.dropped), ("odd, but kept", coverage.suspect)):
        by_reason: dict[str, list[str]] = {}
        for column, why in found.items():
            by_reason.setdefault(why, []).append(names[column])
        if by_reason:
            said = "; ".join(f"{why}: {_some(group)}" for why, group in list(by_reason.items())[:_REASONS])
            more = "; and other reasons" if len(by_reason) > _REASONS else ""
            level = logging.WARNING if 2 * len(found) >= len(names) else logging.INFO
            log.log(level, "%s: %d of %d columns %s: %s%s", where, len(found), len(names), verdict, said, more)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


class MissingColumns:
    """Warns once of each column that was fine in training and is missing throughout in a forecast."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, where: str, unknown: tuple[str, ...]) -> None:
        """Log the columns that were not told of before."""
        fresh = [name for name in unknown if name not in self._told]
        if fresh:
            self._told.update(fresh)
            log.warning("%s: %s missing in every row, taken to be at the mean of training", where, _some(fresh))
