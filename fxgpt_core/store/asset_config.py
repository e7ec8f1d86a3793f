"""`AssetConfig`: one file of `configs/assets/` says everything that is particular to one currency pair."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from typing import Any, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.symbols import normalise_symbol
from fxgpt_core.common.timeframes import Timeframe, horizon_minutes, horizon_name, timeframe
from fxgpt_core.store.config import suggestion

SECTIONS = (
    "quality", "freshness", "walk_forward", "calibration", "backtest", "drift", "retraining", "gate", "live", "shadow",
)  # fmt: skip
"""Parts of the pipeline whose configuration an asset may override."""

DEFAULT_MODELS: dict[str, dict[str, Any]] = {
    "climatology": {},
    "ewma": {},
    "seasonal_ewma": {},
    "filtered_historical": {},
    "garch": {},
    "har": {},
    "ridge": {},
    "lightgbm": {},
    "sssd": {"preset": "small"},
}

FILE_SOURCES = ("import", "sample")
"""Sources that fetch nothing: their bars are in the lake or in a file."""

_OPERATING = ("enabled", "priority", "retraining_cron")
"""Fields that steer when work runs but not what it computes; left out of the hash."""

_T = TypeVar("_T")

_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def cron(value: str) -> str:
    """Return a cron expression with single blanks; raises ValueError saying which field is wrong."""
    parts = value.split()
    if len(parts) != 5:
        raise ValueError(f"{value!r} is no cron expression of five fields such as '0 22 * * *'")
    for part, (low, high) in zip(parts, _CRON_RANGES, strict=True):
        if not re.fullmatch(r"(\*|\d+(-\d+)?)(/[1-9]\d*)?(,(\*|\d+(-\d+)?)(/[1-9]\d*)?)*", part):
            raise ValueError(f"{value!r}: field {part!r} is not understood, write numbers, *, a-b, a,b or */n")
        for number in re.findall(r"(?<![/\d])\d+", part):
            if not low <= int(number) <= high:
                raise ValueError(f"{value!r}: {number} lies outside {low}..{high}")
    return " ".join(parts)


class Costs(Config):
    """What trading the pair costs."""

    spread_pips: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        description="Bid-ask spread that every trade pays, in pips.",
    )
    commission_per_million: float = Field(
        default=30.0,
        ge=0,
        le=10_000,
        allow_inf_nan=False,
        description="Commission in account currency per million of account currency traded, per side.",
    )
    slippage_pips: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="Extra cost of every fill at market and of every stop, in pips, per side.",
    )
    spread: Literal["data", "sessions", "constant"] = Field(
        default="data",
        description="`data`: the spread that bars carry, by session where they carry none; `sessions`: `spread_pips` "
        "times the session's factor in `instruments.yaml`; `constant`: `spread_pips` always.",
    )
    slippage_volatility: float = Field(
        default=0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Slippage on top, as a share of the average true range of the last 24 bars known at the decision.",
    )
    swap: bool = Field(default=True, description="Whether overnight interest is booked at 17:00 New York.")


class AcknowledgedAlarm(Config):
    """A `suspect leakage` alarm that a person has looked into and found to be no leak."""

    alarm: str = Field(
        pattern=r"^[A-Z]{6}-\w+-\w+-(skill|direction)$",
        description="The alarm's name as check and gate print it, such as EURUSD-ridge-1h-skill.",
    )
    up_to: float = Field(
        gt=0,
        le=1,
        description="Largest lower bound that was looked into, 0.08 for 8 %; above it the alarm is raised again.",
    )
    reason: str = Field(min_length=10, description="Why it is no leak; shown wherever the alarm would be.")

    @field_validator("reason", mode="before")
    @classmethod
    def _no_blanks(cls, value: Any) -> Any:
        return value.strip() if isinstance(value, str) else value

    @field_validator("alarm")
    @classmethod
    def _horizon_as_printed(cls, value: str) -> str:
        given = value.split("-")[2]
        printed = horizon_name(_said(horizon_minutes, given))
        if given != printed:
            raise ValueError(f"the horizon {given} of {value} is printed as {printed}, so this names no alarm")
        return value

    @property
    def family(self) -> str:
        """The family whose alarm it is."""
        return self.alarm.split("-")[1]


class AssetConfig(Config):
    """One asset (SPEC 22, asset fields). Timeframes and horizons are kept sorted, finest first."""

    symbol: str = Field(description="Currency pair, six letters; the file is named after it.")
    enabled: bool = Field(default=True, description="Whether the asset is a partition; off: nothing runs for it.")
    priority: int = Field(default=0, ge=-100, le=100, description="Higher runs first where assets queue.")
    source: str = Field(
        default="import",
        pattern=r"^[a-z_]+$",
        description="Where bars come from. `import`: `fxgpt import` and the inbox; `sample`: hourly EURUSD bars that "
        "ship with backtesting.py; else the name of a provider, from which bars are fetched.",
    )
    since: date | None = Field(default=None, description="First day that is fetched from a provider (UTC).")
    provider: dict[str, Any] = Field(default_factory=dict, description="Options of the provider.")
    timeframes: tuple[str, ...] = Field(min_length=1, description="Bar lengths; the finest one is the base.")
    horizons: tuple[str, ...] = Field(
        min_length=1, max_length=10, description="Forecast horizons, as 5m, 1h, 1d or minutes of trading time."
    )
    price_side: Literal["mid", "bid", "ask"] | None = Field(
        default=None, description="Price side that the candles must have; none: whatever was imported."
    )
    costs: Costs = Field(default=Costs(), description="Trading costs of backtests.")
    features: str = Field(default="default", pattern=r"^[\w-]+$", description="Name of a file in `configs/features/`.")
    models: dict[str, dict[str, Any]] = Field(
        default_factory=lambda: {name: dict(overlay) for name, overlay in DEFAULT_MODELS.items()},
        min_length=1,
        description="Enabled families, each with values laid over `configs/<family>/<preset>.yaml`.",
    )
    overrides: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description=f"Values per pipeline section: {', '.join(SECTIONS)}."
    )
    retraining_cron: str = Field(default="0 22 * * *", description="When the retraining schedule looks, cron in UTC.")
    acknowledged_alarms: tuple[AcknowledgedAlarm, ...] = Field(
        default=(), description="`suspect leakage` alarms that a person has looked into, each with its reason."
    )

    @field_validator("symbol")
    @classmethod
    def _symbol(cls, value: str) -> str:
        return _said(normalise_symbol, value)

    @field_validator("timeframes", mode="before")
    @classmethod
    def _timeframes(cls, values: Any) -> Any:
        found = sorted(_said(timeframe, value) for value in _listed(values))
        _distinct([bar.code for bar in found])
        return tuple(bar.code for bar in found)

    @field_validator("horizons", mode="before")
    @classmethod
    def _horizons(cls, values: Any) -> Any:
        minutes = sorted(_said(horizon_minutes, value) for value in _listed(values))
        _distinct([horizon_name(value) for value in minutes])
        return tuple(horizon_name(value) for value in minutes)

    @field_validator("models", "overrides", mode="before")
    @classmethod
    def _empty_sections(cls, values: Any) -> Any:
        # `ridge:` without anything below it reads as null and means "with its defaults".
        if isinstance(values, dict):
            return {key: {} if value is None else value for key, value in values.items()}
        return values

    @field_validator("overrides")
    @classmethod
    def _known_sections(cls, values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name in values:
            if name not in SECTIONS:
                raise ValueError(f"unknown section {name!r}{suggestion(name, SECTIONS)}")
        return values

    @field_validator("retraining_cron")
    @classmethod
    def _cron(cls, value: str) -> str:
        return cron(value)

    @model_validator(mode="after")
    def _fetched(self) -> AssetConfig:
        if self.remote and self.since is None:
            raise ValueError(
                f"source {self.source!r} is a provider's name and needs `since`, the first day to fetch, such as "
                f"2024-01-01; without a provider it is 'import' or 'sample'{suggestion(self.source, FILE_SOURCES)}"
            )
        if not self.remote and (self.since is not None or self.provider):
            raise ValueError(f"`since` and `provider` are for bars of a provider, and the source is {self.source}")
        return self

    @field_validator("acknowledged_alarms")
    @classmethod
    def _one_each(cls, values: tuple[AcknowledgedAlarm, ...]) -> tuple[AcknowledgedAlarm, ...]:
        _distinct(sorted(entry.alarm for entry in values))
        return values

    @model_validator(mode="after")
    def _acknowledged_here(self) -> AssetConfig:
        for entry in self.acknowledged_alarms:
            if not entry.alarm.startswith(f"{self.symbol}-"):
                raise ValueError(f"alarm {entry.alarm} is of another pair than {self.symbol}")
        return self

    @model_validator(mode="after")
    def _multiples(self) -> AssetConfig:
        for name, minutes in zip(self.horizons, self.horizon_minutes, strict=True):
            if minutes % self.base.minutes:
                raise ValueError(f"horizon {name} is not a whole number of bars of the base timeframe {self.base}")
        return self

    @property
    def remote(self) -> bool:
        """Whether bars are fetched from a provider."""
        return self.source not in FILE_SOURCES

    @property
    def candle_source(self) -> Literal["sample", "import"]:
        """Whether candles are those of the sample or what has come into the lake, by import or from a provider."""
        return "sample" if self.source == "sample" else "import"

    @property
    def base(self) -> Timeframe:
        """The finest timeframe; decisions are made at its closes."""
        return timeframe(self.timeframes[0])

    @property
    def horizon_minutes(self) -> tuple[int, ...]:
        """Horizons in minutes of trading time, increasing."""
        return tuple(horizon_minutes(value) for value in self.horizons)

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the enabled model families, in the order of the file."""
        return tuple(self.models)

    @property
    def config_hash(self) -> str:
        """Hash of everything that changes results; equal for equal meaning (`60` and `1h`)."""
        return stable_hash(self.model_dump(mode="json", exclude=set(_OPERATING)))


def _listed(values: Any) -> list[Any]:
    if not isinstance(values, list | tuple):
        raise ValueError(f"{values!r} is not a list; write [{values}]")
    return list(values)


def _distinct(names: list[str]) -> None:
    for left, right in pairwise(names):
        if left == right:
            raise ValueError(f"{left} appears twice")


def _said(parse: Callable[[Any], _T], value: Any) -> _T:
    """Call a parser of the common layer and hand its sentence to Pydantic, which adds the key."""
    try:
        return parse(value)
    except BadInputError as error:
        raise ValueError(str(error)) from error
