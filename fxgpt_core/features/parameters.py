"""`Parameter`: a setting of an indicator with its default and the range in which it makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fxgpt_core.common.errors import ConfigError

MOST_PERIODS = 3
"""An indicator comes in at most this many periods: more of them say the same again (SPEC 2)."""


@dataclass(frozen=True)
class Parameter:
    """One setting: `default` is a number, or several for an indicator that comes in several periods."""

    default: int | float | tuple[int | float, ...]
    low: float
    high: float

    @property
    def whole(self) -> bool:
        """Whether values must be whole numbers."""
        first = self.default[0] if isinstance(self.default, tuple) else self.default
        return isinstance(first, int)

    def checked(self, value: Any, where: str) -> int | float | tuple[int | float, ...]:
        """Return the value in the form of the default; raises ConfigError naming `where`, value and range."""
        if not isinstance(self.default, tuple):
            return self._number(value, where)
        values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        numbers = tuple(self._number(one, where) for one in values)
        if not 1 <= len(numbers) <= MOST_PERIODS or len(set(numbers)) < len(numbers):
            raise ConfigError(f"{where} is {list(values)}: give one to {MOST_PERIODS} different values.")
        return numbers

    def _number(self, value: Any, where: str) -> int | float:
        kinds = (int,) if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not self.low <= value <= self.high:
            kind = "a whole number" if self.whole else "a number"
            raise ConfigError(f"{where} is {value!r}: it must be {kind} from {self.low:g} to {self.high:g}.")
        return value if self.whole else float(value)


def number(default: float, low: float, high: float) -> Parameter:
    """Declare a single setting; whole numbers only where the default is one."""
    return Parameter(default, low, high)


def periods(*defaults: int, low: int = 2, high: int = 2000) -> Parameter:
    """Declare the periods, in bars, that an indicator comes in."""
    if len(defaults) > MOST_PERIODS:
        raise ConfigError(f"Periods {defaults} are more than {MOST_PERIODS}.")
    return Parameter(tuple(defaults), low, high)
