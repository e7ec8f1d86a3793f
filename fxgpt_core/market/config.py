"""Configuration of the market layer; imports nothing heavy."""

from __future__ import annotations

import re
from datetime import date, time
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from fxgpt_core.common.config import Config
from fxgpt_core.store.config import folder_file, shipped_file

MARKET_HOURS_FILE = "market_hours.yaml"


class SessionRule(Config):
    """One departure from the weekly hours; a session is named by the New York day on which it closes."""

    date: str | None = Field(None, description='Day of the session: "MM-DD" every year or "YYYY-MM-DD" once.')
    easter: int | None = Field(None, ge=-100, le=100, description="Days from Easter Sunday; Good Friday is -2.")
    closed: Literal["all"] | None = Field(None, description="The whole session is shut.")
    closes: str | None = Field(None, description='New York time of an early close, "HH:MM" before 17:00.')
    opens: str | None = Field(
        None, description='New York time of a late open, "HH:MM"; 17:00 or later is the evening before.'
    )
    since: int = Field(1970, ge=1970, le=2100, description="First year of the rule.")
    until: int = Field(2100, ge=1970, le=2100, description="Last year of the rule.")
    weekend: Literal["skip", "monday", "nearest"] = Field(
        "skip", description="What a day on Saturday or Sunday does: nothing, moves to Monday, or to Friday or Monday."
    )

    @model_validator(mode="after")
    def _complete(self) -> SessionRule:
        if (self.date is None) == (self.easter is None):
            raise ValueError("a rule names its day by either date or easter")
        if sum(value is not None for value in (self.closed, self.closes, self.opens)) != 1:
            raise ValueError(f"the rule of {self.day} must say one of closed, closes and opens")
        if self.date is not None:
            self._check_date(self.date)
        for name in ("closes", "opens"):
            text = getattr(self, name)
            if text is not None and not _is_clock(text):
                raise ValueError(f'{name} {text!r} of {self.day} is no time such as "13:00"; keep the quotes')
        if self.closes is not None and time.fromisoformat(self.closes) >= time(17):
            raise ValueError(f"closes {self.closes!r} of {self.day} is not before 17:00, when every session closes")
        return self

    @property
    def day(self) -> str:
        """The rule's day for messages."""
        return self.date if self.date is not None else f"Easter {self.easter:+d}"

    @staticmethod
    def _check_date(text: str) -> None:
        full = text if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else f"2024-{text}"
        try:
            date.fromisoformat(full)
        except ValueError:
            raise ValueError(f'date {text!r} is neither "MM-DD" nor "YYYY-MM-DD"; keep the quotes') from None


class MarketHoursConfig(Config):
    """Holidays, early closes and late opens: the departures from Sunday 17:00 to Friday 17:00 New York."""

    rules: tuple[SessionRule, ...] = ()


def load_market_hours(config_dir: Path) -> MarketHoursConfig:
    """Return `market_hours.yaml` of a configuration folder, the shipped one where it is absent.

    Raises ConfigError naming the file and the key.
    """
    return folder_file(MarketHoursConfig, config_dir, MARKET_HOURS_FILE)


@lru_cache(maxsize=1)
def shipped_market_hours() -> MarketHoursConfig:
    """Return the rules that ship with the product."""
    return shipped_file(MarketHoursConfig, MARKET_HOURS_FILE)


def _is_clock(text: str) -> bool:
    return re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text) is not None


class QualityConfig(Config):
    """Limits of the data-quality report and of the check that blocks what comes after it.

    Every limit exists for the whole history and for each month, which is more generous: one bad week must be seen, but
    need not stop fifteen years of good data.
    """

    max_missing_share: float = Field(
        default=0.05, ge=0, le=1, description="Share of market-hour bars (holidays left out) that may be missing."
    )
    max_quarantined_share: float = Field(
        default=0.02, ge=0, le=1, description="Share of the rows given that may be quarantined."
    )
    max_missing_share_per_month: float = Field(
        default=0.25, ge=0, le=1, description="Share of a month's market-hour bars that may be missing: a lost week."
    )
    max_quarantined_share_per_month: float = Field(
        default=0.05, ge=0, le=1, description="Share of a month's rows that may be quarantined."
    )
    max_stale_share_per_month: float = Field(
        default=0.05, ge=0, le=1, description="Share of a month's bars that may lie in runs of a frozen price."
    )
    max_outliers_per_month: int = Field(default=20, ge=0, description="Jumps, spikes and wicks that a month may have.")
    max_shifted_weeks_per_month: int = Field(
        default=1,
        ge=0,
        description="Weeks of a month whose stamps may be off by whole hours; another country's summer time makes two.",
    )
    max_odd_weeks_per_month: int = Field(
        default=0,
        ge=0,
        description="Weeks of a month whose stamps may be off by hours that American and European summer time, where "
        "they differ, do not explain.",
    )
    max_level_breaks_per_month: int = Field(
        default=0,
        ge=0,
        description="Times in a month that the price level may break: into or out of another scale or another pair's "
        "prices.",
    )
    level_factor: float = Field(
        default=3.0,
        gt=1,
        description="No price moves by this factor within a bar or from one bar to the next; where it does, the level "
        "breaks.",
    )
    level_step: float = Field(
        default=0.05,
        gt=0,
        description="Two opposite steps of more than this share of the price, each out of a calm market into a calm "
        "one, enclose foreign prices.",
    )
    max_crossed_share_per_month: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Share of a month's mid bars whose ask may lie below the bid: bid and ask bars close on different "
        "ticks, in a quiet month of minutes up to one in eleven; stamps an hour apart cross two in five.",
    )
    max_difference_to_stored: float = Field(
        default=0.02,
        gt=0,
        description="Relative price difference to stored bars of the same times above which a file is refused, unless "
        "it continues the bars around them better.",
    )
    month_min_bars: int = Field(
        default=12,
        ge=1,
        description="Fewer missing, quarantined, stale or crossed bars than this, or than a quarter of the bars of a "
        "month where that is less, never fail a month.",
    )
    outlier_scales: float = Field(
        default=30.0,
        gt=1,
        description="A move or wick of more than this many usual bar-to-bar returns is an outlier; half as many where "
        "the next bar takes the move back.",
    )
    stale_bars: int = Field(
        default=12, ge=2, description="This many bars in a row without any movement in lively hours are a stale run."
    )
    market_hours: MarketHoursConfig = Field(
        default_factory=shipped_market_hours,
        description="Holidays and early closes, on which missing bars are expected.",
    )
    block_on_suspect_time_zone: bool = Field(
        default=True, description="Block when the weekly open and close do not fit the time zone of the stamps."
    )
