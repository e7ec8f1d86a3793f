"""Configuration of features and yardstick: which indicators on which timeframes, with which parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import BadInputError, ConfigError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe, horizon_name, timeframe
from fxgpt_core.features.registry import Indicator, indicators
from fxgpt_core.store.config import suggestion

DEFAULT_GROUPS = (
    "ohlc",
    "time",
    "volatility",
    "returns",
    "oscillators",
    "trend",
    "channels",
    "patterns",
    "money_flow",
    "volume",
    "seasonal",
    "statistics",
    "structure",
    "volume_profile",
    "regime",
    "calendar",
    "cross",
)
LAYOUT = 4
"""Rises when the way tables, yardstick or targets are computed changes, so that stored ones are recomputed."""


class YardstickConfig(Config):
    """The volatility forecast that standardises targets (see `yardstick`)."""

    seasonal: bool = Field(default=True, description="Learn the time-of-week shape of volatility; off: plain EWMA.")
    bucket_minutes: int = Field(
        default=30, ge=1, le=1440, description="Width of a time-of-week bucket, at least one base bar."
    )
    shrink_weeks: float = Field(
        default=12.0, ge=0, le=10_000, description="Weight, in weeks, of the coarser average in each bucket."
    )
    weekend_minutes: float = Field(
        default=60.0, ge=0, le=1440, description="Prior variance of the weekend gap, in minutes of ordinary trading."
    )
    weekend_weeks: float = Field(default=8.0, ge=0, le=1000, description="Weight of that prior, in weeks.")
    level: Literal["ewma", "har"] = Field(
        default="ewma",
        description="What the level of volatility follows: a mixture of two EWMAs, or a heterogeneous autoregression "
        "on top of it (see `har`).",
    )
    har_minutes: tuple[float, ...] = Field(
        default=(60.0, 1440.0, 7200.0, 31_680.0),
        min_length=1,
        description="Spans of the autoregression, in minutes of trading: an hour, a day, a week, a month.",
    )
    memory_days: float = Field(
        default=250.0, gt=0, le=10_000, description="Half-life of what was learned from the past, in trading days."
    )
    half_lives: tuple[float, ...] = Field(
        default=(60.0, 240.0, 720.0, 1440.0, 2880.0),
        min_length=1,
        description="Half-lives of the fast level to choose from per horizon, in minutes of trading; the middle one "
        "holds until enough is known. Those below one base bar are left out.",
    )
    slow_half_life: float = Field(
        default=14_400.0, gt=0, description="Half-life of the slow level, in minutes of trading."
    )
    fast_weights: tuple[float, ...] = Field(
        default=(0.3, 0.5, 0.7, 0.85, 1.0),
        min_length=1,
        description="Weights of the fast level against the slow one to choose from; the middle one holds until enough "
        "is known.",
    )
    seasonal_days: float = Field(
        default=10.0, ge=1, le=1000, description="Trading days before a seasonal shape is used."
    )
    learning_days: float = Field(
        default=30.0, ge=1, le=1000, description="Trading days before half-life and weight are chosen."
    )
    first_days: float = Field(default=20.0, ge=1, le=1000, description="Trading days before the first forecast.")

    @model_validator(mode="after")
    def _ranges(self) -> YardstickConfig:
        if not all(h > 0 for h in self.half_lives):
            raise ValueError(f"half_lives {self.half_lives} must be positive")
        if not all(m > 0 for m in self.har_minutes):
            raise ValueError(f"har_minutes {self.har_minutes} must be positive")
        if not all(0 < w <= 1 for w in self.fast_weights):
            raise ValueError(f"fast_weights {self.fast_weights} must lie within 0..1")
        return self


class FeatureSpec(Config):
    """Which features are computed (SPEC 2). By default every indicator of `groups` on every timeframe."""

    groups: tuple[str, ...] = Field(default=DEFAULT_GROUPS, description="Indicator groups that are on.")
    indicators: dict[str, tuple[str, ...] | Literal["all"]] = Field(
        default_factory=dict,
        description="Indicator -> timeframes or `all`, overriding `groups` for it; an empty list switches it off.",
    )
    parameters: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Indicator -> parameter -> value, laid over its defaults."
    )
    warm_up: int = Field(
        default=512, ge=0, le=100_000, description="Own bars before a month at which its computation starts."
    )
    whole_history_minutes: int = Field(
        default=240, ge=1, description="Timeframes from this length on are always computed from the start of history."
    )
    yardstick: YardstickConfig = Field(default=YardstickConfig(), description="The volatility forecast.")

    @field_validator("groups", mode="before")
    @classmethod
    def _known_groups(cls, values: Any) -> Any:
        if isinstance(values, str):
            raise ValueError(f"{values!r} must be a list, such as [{values}]")
        known = sorted({indicator.group for indicator in indicators().values()})
        for value in values:
            if value not in known:
                raise ValueError(f"unknown indicator group {value!r}{suggestion(str(value), known)}")
        return values

    @field_validator("indicators", mode="before")
    @classmethod
    def _lists_of_timeframes(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            raise ValueError(f"{values!r} must map indicators to timeframes, such as {{rsi: [5m, 1h], atr: all}}")
        for name, codes in values.items():
            if isinstance(codes, str) and codes != "all":
                raise ValueError(f"{name} is {codes!r}: it must be a list of timeframes, such as [{codes}], or all")
        return values

    @model_validator(mode="after")
    def _known_indicators(self) -> FeatureSpec:
        known = indicators()
        for where, names in (("indicators", self.indicators), ("parameters", self.parameters)):
            for name in names:
                if name not in known:
                    raise ValueError(f"{where}: unknown indicator {name!r}{suggestion(name, known)}")
        try:
            for codes in self.indicators.values():
                [timeframe(code) for code in codes if codes != "all"]
            for name, values in self.parameters.items():
                self._check_warm_up(known[name], known[name].resolved(values))
        except (BadInputError, ConfigError) as error:
            raise ValueError(str(error)) from error
        return self

    def _check_warm_up(self, indicator: Indicator, parameters: dict[str, Any]) -> None:
        needed = indicator.warm_up(parameters)
        if needed > self.warm_up:
            raise ConfigError(
                f"Indicator {indicator.name} with {parameters} needs {needed} bars, warm_up gives a month "
                f"{self.warm_up}: shorten it or raise warm_up."
            )

    def idle(self, timeframes: Sequence[Timeframe]) -> tuple[str, ...]:
        """Return a sentence for each timeframe of `indicators` that a layout lacks: nothing is computed on it."""
        codes = [bar.code for bar in timeframes]
        return tuple(
            f"indicator {name} is set to {code}, which is none of the timeframes {', '.join(codes)}"
            for name, where in self.indicators.items()
            if where != "all"
            for code in where
            if code not in codes
        )

    def chosen(self, bar: Timeframe) -> list[tuple[Indicator, dict[str, Any]]]:
        """Return the indicators computed on a timeframe, each with its parameters, in registry order."""
        out = []
        for name, indicator in indicators().items():
            where = self.indicators.get(name, "all" if indicator.group in self.groups else ())
            if where == "all" or bar.code in where:
                out.append((indicator, indicator.resolved(self.parameters.get(name, {}))))
        return out

    def reads(self, bar: Timeframe) -> frozenset[str]:
        """Return what the indicators of a timeframe look at besides its own bars."""
        return frozenset(what for indicator, _ in self.chosen(bar) for what in indicator.reads)

    def memory(self, bar: Timeframe) -> int:
        """Return how many own bars before a month its indicators learn from."""
        return max((indicator.memory(parameters) for indicator, parameters in self.chosen(bar)), default=0)

    def definition_hash(self, bar: Timeframe, slower: Sequence[str] = ()) -> str:
        """Return the hash of everything that decides the values of one timeframe's table.

        `slower`: codes of the slower timeframes of the layout, which some indicators read.
        """
        chosen = [(i.name, i.version, i.source, parameters) for i, parameters in self.chosen(bar)]
        beside = list(slower) if "slower" in self.reads(bar) else []
        return stable_hash(["table", LAYOUT, bar.code, self.warm_up, self.whole_history_minutes, beside, chosen])

    def definition_hashes(self, timeframes: Sequence[Timeframe]) -> dict[str, str]:
        """Return the definition hash of each timeframe of a layout, finest first, by code."""
        codes = [bar.code for bar in timeframes]
        return {bar.code: self.definition_hash(bar, codes[index + 1 :]) for index, bar in enumerate(timeframes)}

    def target_hash(self, base: Timeframe, horizons: tuple[int, ...]) -> str:
        """Return the hash of everything that decides yardstick and targets."""
        return stable_hash(["targets", LAYOUT, base.code, list(horizons), self.yardstick.model_dump(mode="json")])

    def dataset_hash(self, timeframes: tuple[Timeframe, ...], horizons: tuple[int, ...]) -> str:
        """Return the hash of everything that decides a dataset made from given candles."""
        tables = self.definition_hashes(timeframes).values()
        return stable_hash([*tables, self.target_hash(timeframes[0], horizons)])


def check_layout(
    timeframes: Sequence[Timeframe], horizons: Sequence[int]
) -> tuple[tuple[Timeframe, ...], tuple[int, ...]]:
    """Return both as tuples; raises BadInputError where they are empty, unsorted or no whole number of base bars."""
    if not timeframes or any(a >= b for a, b in pairwise(timeframes)):
        names = ", ".join(t.code for t in timeframes)
        raise BadInputError(f"Timeframes ({names}) must be given finest first, each once.")
    for bar in timeframes:
        if bar.minutes % timeframes[0].minutes:
            raise BadInputError(
                f"A {bar} bar is no whole number of {timeframes[0]} bars: leave {bar} out or choose a finer base."
            )
    for horizon in horizons:
        if horizon <= 0 or horizon % timeframes[0].minutes:
            raise BadInputError(
                f"Horizon {horizon_name(horizon)} is not a whole number of bars of the base timeframe {timeframes[0]}."
            )
    if not horizons or len(set(horizons)) != len(horizons):
        raise BadInputError(f"Horizons {tuple(horizons)} must be at least one, each once.")
    return tuple(timeframes), tuple(horizons)
