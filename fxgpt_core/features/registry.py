"""The registry of indicators: each is declared once: group, parameters, warm-up, source, function (SPEC 2)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from fxgpt_core.common.errors import ConfigError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.parameters import Parameter

Columns = Mapping[tuple[Any, ...], Floats]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Indicator:
    """One registered indicator.

    `function(bars, **parameters)` returns columns keyed by (stem, *suffixes); the stored name is
    `stem_timeframe_suffix…`, for example `bb_h_5m_20_2.0`. It must be causal: row t depends on bars <= t only.
    `warm_up(parameters)` is the number of leading bars on which some column is not yet defined; `version` rises when
    the formula changes, so that stored tables are recomputed.

    What is learned from the past is frozen at the end of the previous month: `fit(past, **parameters)` sees the last
    `memory(parameters)` bars before the month (fewer, or none, early in history), and `function` gets what it returns
    as `state=`. `reads`: "slower" and "releases" where the function looks at those of `Bars`. `windowed`: a bar's
    values follow from it and the 512 bars before (`blocks.REACH`) alone, to the bit as they are stored; recursive
    averages, and running sums of TA-Lib, do not.
    """

    name: str
    group: str
    source: str
    function: Callable[..., Columns]
    warm_up: Callable[[Values], int]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    version: int = 1
    fit: Callable[..., Any] | None = None
    memory: Callable[[Values], int] = lambda _: 0
    reads: tuple[Literal["slower", "releases"], ...] = ()
    windowed: bool = False

    @property
    def formula(self) -> str:
        """The first paragraph of the function's docstring."""
        return " ".join(inspect.cleandoc(self.function.__doc__ or "").split("\n\n")[0].split())

    def resolved(self, overrides: Values) -> dict[str, Any]:
        """Return the parameters with `overrides` laid over.

        Raises ConfigError for a name that it does not have and a value outside its range.
        """
        if not overrides:
            return dict(self._defaults)
        unknown = sorted(set(overrides) - set(self.parameters))
        if unknown:
            known = ", ".join(self.parameters) or "none"
            raise ConfigError(f"Indicator {self.name} has no parameter {unknown[0]!r}: known are {known}.")
        return self._checked({**self._defaults, **overrides})

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        return self._checked({name: parameter.default for name, parameter in self.parameters.items()})

    def _checked(self, values: Values) -> dict[str, Any]:
        where = f"of indicator {self.name}"
        return {
            name: parameter.checked(values[name], f"Parameter {name} {where}")
            for name, parameter in self.parameters.items()
        }

    def learn(self, past: Bars, parameters: Values) -> Any:
        """Return the state that holds for a month, learned from the bars before it; None where nothing is learned."""
        return None if self.fit is None else self.fit(past, **parameters)

    def compute(self, bars: Bars, parameters: Values, state: Any = None) -> dict[str, Floats]:
        """Return the columns by stored name, (bars,) float64 each; `state` is what `learn` returned."""
        learned = {} if self.fit is None else {"state": state}
        columns = self.function(bars, **learned, **parameters)
        return {column_name(key, bars.timeframe): values for key, values in columns.items()}


def column_name(key: tuple[Any, ...], bar: Timeframe) -> str:
    """Return the stored name of a column: ("bb_h", 20, 2.0) at 5m -> `bb_h_5m_20_2.0`."""
    return "_".join([str(key[0]), bar.code, *(str(part) for part in key[1:])])


_INDICATORS: dict[str, Indicator] = {}


def feature(
    name: str,
    *,
    group: str,
    source: str,
    warm_up: Callable[[Values], int],
    version: int = 1,
    fit: Callable[..., Any] | None = None,
    memory: Callable[[Values], int] = lambda _: 0,
    reads: tuple[Literal["slower", "releases"], ...] = (),
    windowed: bool = False,
    **parameters: Parameter,
) -> Callable[[Callable[..., Columns]], Callable[..., Columns]]:
    """Register the decorated function as indicator `name`; further keyword arguments declare its parameters."""

    def register(function: Callable[..., Columns]) -> Callable[..., Columns]:
        if name in _INDICATORS:
            raise ConfigError(f"Indicator {name} is registered twice: give one of them another name.")
        declared = MappingProxyType(dict(parameters))
        _INDICATORS[name] = Indicator(
            name, group, source, function, warm_up, declared, version, fit, memory, reads, windowed
        )
        return function

    return register


def declarations_hash() -> str:
    """Return a hash that changes when any indicator is added, removed, declared otherwise or raised in version."""
    declared = [
        (one.name, one.group, one.version, one.source, one.resolved({}), list(one.reads))
        for one in indicators().values()
    ]
    return stable_hash(declared)


def indicators() -> Mapping[str, Indicator]:
    """Return every registered indicator by name, in order of registration."""
    import fxgpt_core.features.indicators  # noqa: F401 - importing the groups registers them

    return _INDICATORS
