"""`configs/instruments.yaml`: what a broker says about its pairs; imports nothing heavy."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.symbols import CURRENCIES, normalise_symbol
from fxgpt_core.store.config import folder_file, shipped_file, suggestion

INSTRUMENTS_FILE = "instruments.yaml"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
SPREAD_SESSIONS = ("rollover", "sydney", "tokyo", "london", "new_york")
"""Keys of the spread table: the hour after 17:00 New York, and the sessions of `market.sessions`."""


class SwapPoints(Config):
    """What a broker books per lot and night from some day on; one point is the last quoted digit."""

    since: date = Field(default=date(1970, 1, 1), description="First New York day on which these hold.")
    long: float = Field(ge=-10_000, le=10_000, description="Points per night for holding long; negative is paid.")
    short: float = Field(ge=-10_000, le=10_000, description="Points per night for holding short; negative is paid.")


class InstrumentEntry(Config):
    """What is particular to one pair; everything left out follows from its currencies."""

    pip: float | None = Field(default=None, gt=0, le=100, description="Price of one pip.")
    digits: int | None = Field(default=None, ge=0, le=8, description="Decimals of a quoted price.")
    contract_size: float | None = Field(default=None, gt=0, description="Units of the base currency in one lot.")
    lot_step: float = Field(default=0.01, gt=0, le=100, description="Smallest change of size, in lots.")
    min_lot: float = Field(default=0.01, gt=0, le=1000, description="Smallest order, in lots.")
    max_lot: float = Field(default=100.0, gt=0, le=1e6, description="Largest order, in lots.")
    triple_swap_day: Literal["monday", "tuesday", "wednesday", "thursday", "friday"] | None = Field(
        default=None, description="Weekday whose 17:00 New York rollover is charged three times."
    )
    swaps: tuple[SwapPoints, ...] = Field(default=(), description="Swap points, each from its day on.")

    @field_validator("swaps")
    @classmethod
    def _ascending(cls, values: tuple[SwapPoints, ...]) -> tuple[SwapPoints, ...]:
        days = [value.since for value in values]
        if days != sorted(set(days)):
            raise ValueError(f"the days of the swap points must ascend, found {', '.join(map(str, days))}")
        return values


class InterestConfig(Config):
    """Overnight interest for pairs without swap points of their own."""

    markup: float = Field(
        default=0.8, ge=0, le=20, description="What the broker takes from either side, percent a year."
    )
    rates: dict[str, dict[date, float]] = Field(
        default_factory=dict, description="Currency -> first day -> policy rate in percent a year."
    )

    @field_validator("rates")
    @classmethod
    def _known(cls, values: dict[str, dict[date, float]]) -> dict[str, dict[date, float]]:
        for currency, steps in values.items():
            if currency not in CURRENCIES:
                raise ValueError(f"unknown currency {currency!r}{suggestion(currency, CURRENCIES)}")
            for day, rate in steps.items():
                if not -5 <= rate <= 100:
                    raise ValueError(f"the rate of {currency} from {day} is {rate}, expected percent in -5..100")
        return {currency: dict(sorted(steps.items())) for currency, steps in values.items()}


class InstrumentsConfig(Config):
    """Instruments, the spread table and interest rates of one broker."""

    instruments: dict[str, InstrumentEntry] = Field(default_factory=dict, description="Pair -> what is particular.")
    spread_sessions: dict[str, float] = Field(
        default_factory=lambda: dict.fromkeys(SPREAD_SESSIONS, 1.0),
        description=f"Multiples of a pair's spread by session: {', '.join(SPREAD_SESSIONS)}.",
    )
    interest: InterestConfig = InterestConfig()

    @field_validator("instruments")
    @classmethod
    def _pairs(cls, values: dict[str, InstrumentEntry]) -> dict[str, InstrumentEntry]:
        try:
            return {normalise_symbol(symbol): entry for symbol, entry in values.items()}
        except BadInputError as error:
            raise ValueError(str(error)) from error

    @field_validator("spread_sessions")
    @classmethod
    def _sessions(cls, values: dict[str, float]) -> dict[str, float]:
        for name, factor in values.items():
            if name not in SPREAD_SESSIONS:
                raise ValueError(f"unknown session {name!r}{suggestion(name, SPREAD_SESSIONS)}")
            if not 0 < factor <= 100:
                raise ValueError(f"the factor of {name} is {factor}, but must be > 0 and <= 100")
        return {name: values.get(name, 1.0) for name in SPREAD_SESSIONS}


def load_instruments(config_dir: Path) -> InstrumentsConfig:
    """Return `instruments.yaml` of a configuration folder, the shipped one where it is absent.

    Raises ConfigError naming the file and the key.
    """
    return folder_file(InstrumentsConfig, config_dir, INSTRUMENTS_FILE)


@lru_cache(maxsize=1)
def shipped_instruments() -> InstrumentsConfig:
    """Return the instruments that ship with the product."""
    return shipped_file(InstrumentsConfig, INSTRUMENTS_FILE)
