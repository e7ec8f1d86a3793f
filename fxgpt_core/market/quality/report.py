"""`QualityReport`: what one assessment counted, per month and as a whole, and which limits that exceeds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market.config import QualityConfig

MONTH_COUNTS = (
    "expected",
    "usable",
    "missing",
    "quarantined",
    "duplicate",
    "not_positive",
    "high_below_low",
    "unsorted",
    "stale_runs",
    "stale_bars",
    "outliers",
    "shifted_weeks",
    "odd_weeks",
    "level_breaks",
    "crossed",
)
"""What is counted per month of known_at. `quarantined` are all reasons together, three of which stand beside it;
`odd_weeks` are those of `shifted_weeks` that another country's summer time does not explain."""

_MONTHS_SAID = 6
_MONTH_MINUTES = 31_200  # of weekly trading time: a twelfth of 52 weeks of 120 hours
_MONTH_PART = 4  # a bar in four may always be bad where a month has few


@dataclass(frozen=True)
class QualityReport:
    """Counts of one assessment.

    `rows` given = `usable` + sum of `quarantined` (by reason). `unsorted` rows were sorted, not lost. `expected` are
    the market-hour bars from the first to the last usable one (holidays and early closes left out), `missing` those
    without a row, `gaps` the runs of missing bars, `coverage` = 1 - missing / expected. `outliers`: jumps, spikes and
    wicks; `stale_runs` of a frozen price hold `stale_bars`. `weekends` inside the data; `week_edges`: the share of
    weekly opens or of weekly closes that fit the FX week, the smaller of the two; `shifted_weeks` begin and end by the
    same whole hours too early or late. `months`: month -> counts named in `MONTH_COUNTS`, `level_breaks` and `crossed`
    (bars whose ask lies below the bid) among them.
    """

    symbol: str
    timeframe: str
    rows: int
    usable: int
    quarantined: dict[str, int]
    unsorted: int
    expected: int
    missing: int
    gaps: int
    longest_gap_bars: int
    coverage: float
    outliers: int
    stale_runs: int
    stale_bars: int
    weekends: int
    week_edges: float | None
    shifted_weeks: int
    first: str | None
    last: str | None
    months: dict[str, dict[str, int]]

    @property
    def quarantined_share(self) -> float:
        """Quarantined rows as a share of the rows given."""
        return sum(self.quarantined.values()) / self.rows if self.rows else 0.0

    @property
    def time_zone_suspect(self) -> bool:
        """Whether the stamps look like another clock's: weeks begin late or end early, and overhang on the other side.

        A venue that only opens late or closes early has no bars outside market hours and is not suspected.
        """
        if self.week_edges is None or self.week_edges >= 0.5:
            return False
        return self.quarantined.get("outside_market_hours", 0) >= 0.5 * self.weekends

    def failures(self, config: QualityConfig) -> list[str]:
        """Return one sentence per limit of `config` that is exceeded, with the month where it is a month's; empty when
        the data may be used."""
        return [*self._overall(config), *self._monthly(config), *self._clock(config)]

    def month_failures(self, month: str, config: QualityConfig) -> list[str]:
        """Return what is wrong with one month, each without the month and a full stop; empty when nothing is."""
        count = self.months[month]
        given = count["usable"] + count["quarantined"]
        shares = (
            ("missing", "market-hour bars are missing", count["expected"], config.max_missing_share_per_month),
            ("quarantined", "rows are quarantined", given, config.max_quarantined_share_per_month),
            ("stale_bars", "bars lie in runs of a frozen price", count["usable"], config.max_stale_share_per_month),
            ("crossed", "bars have their ask below the bid", count["usable"], config.max_crossed_share_per_month),
        )
        least = self._least(config)
        found = [
            f"{count[name]} of {total} {what} ({count[name] / total:.1%}, limit {limit:.1%})"
            for name, what, total, limit in shares
            if count[name] >= least and total and count[name] / total > limit
        ]
        if count["outliers"] > config.max_outliers_per_month:
            found.append(f"{count['outliers']} outliers (limit {config.max_outliers_per_month})")
        if count["level_breaks"] > config.max_level_breaks_per_month:
            found.append(
                f"the price level breaks {_times(count['level_breaks'])}, into or out of another scale or another "
                f"pair's prices (limit {config.max_level_breaks_per_month})"
            )
        return [*found, *self._shifted(count, config)]

    def _shifted(self, count: dict[str, int], config: QualityConfig) -> Iterator[str]:
        if not config.block_on_suspect_time_zone:
            return
        weeks, odd = count["shifted_weeks"], count["odd_weeks"]
        if odd > config.max_odd_weeks_per_month:
            yield (
                f"the stamps of {_weeks(odd)} off by whole hours that no summer time explains "
                f"(limit {config.max_odd_weeks_per_month})"
            )
        elif weeks > config.max_shifted_weeks_per_month:
            yield f"the stamps of {_weeks(weeks)} off by whole hours (limit {config.max_shifted_weeks_per_month})"

    def _least(self, config: QualityConfig) -> int:
        """Return how many bad bars a month of this timeframe must have to fail."""
        bars = _MONTH_MINUTES / timeframe(self.timeframe).minutes
        return min(config.month_min_bars, math.ceil(bars / _MONTH_PART))

    def _overall(self, config: QualityConfig) -> Iterator[str]:
        if self.usable == 0:
            yield f"{self.symbol} {self.timeframe} has no usable bar."
        if self.expected and self.missing / self.expected > config.max_missing_share:
            yield (
                f"{self.missing} of {self.expected} market-hour bars are missing "
                f"({self.missing / self.expected:.1%}, limit {config.max_missing_share:.1%})."
            )
        if self.quarantined_share > config.max_quarantined_share:
            reasons = ", ".join(f"{name} {count}" for name, count in self.quarantined.items())
            yield (
                f"{self.quarantined_share:.1%} of {self.rows} rows are quarantined "
                f"(limit {config.max_quarantined_share:.1%}): {reasons}."
            )

    def _monthly(self, config: QualityConfig) -> Iterator[str]:
        found = {month: self.month_failures(month, config) for month in self.months}
        failed = [month for month, what in found.items() if what]
        for month in failed[:_MONTHS_SAID]:
            yield f"{month}: {'; '.join(found[month])}."
        if len(failed) > _MONTHS_SAID:
            yield f"{len(failed) - _MONTHS_SAID} more months exceed their limits, the last {failed[-1]}."

    def _clock(self, config: QualityConfig) -> Iterator[str]:
        if self.time_zone_suspect and config.block_on_suspect_time_zone:
            yield (
                f"Only {self.week_edges or 0:.0%} of the weeks fit Sunday to Friday 17:00 New York and bars lie "
                "outside them: the time zone of the stamps is probably wrong."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        derived = {"quarantined_share": self.quarantined_share, "time_zone_suspect": self.time_zone_suspect}
        return asdict(self) | derived

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> QualityReport:
        """Rebuild a report from `to_dict`."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _weeks(number: int) -> str:
    return "1 week are" if number == 1 else f"{number} weeks are"
