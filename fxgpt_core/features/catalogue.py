"""The catalogue of indicators, for people: what exists, what it computes, from where and with which settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from fxgpt_core.common.timeframes import Timeframe, timeframe
from fxgpt_core.features.bars import Bars, Releases, SlowerBars
from fxgpt_core.features.parameters import Parameter
from fxgpt_core.features.registry import Indicator, indicators
from fxgpt_core.features.spec import FeatureSpec

_BARS = 400
HEAD = """# Indicators

Made by `fxgpt features --markdown > docs/features.md` from the declarations in `fxgpt_core/features/indicators/`, not
by hand. Column names carry the timeframe in place of `<tf>` and the parameters; columns of group `cross` carry the
slower timeframe as well and exist once for each. `configs/features/` chooses by group, by name, or by
(indicator -> timeframes).
"""


@dataclass(frozen=True)
class Entry:
    """One indicator: `columns` it publishes with default parameters, `parameters` as "default [low, high]"."""

    name: str
    group: str
    columns: tuple[str, ...]
    parameters: dict[str, str]
    warm_up: int
    memory: int
    reads: tuple[str, ...]
    formula: str
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def catalogue(spec: FeatureSpec | None = None, bar: str | Timeframe = "5m") -> list[Entry]:
    """Return every indicator, by group and in order of registration; with a `spec` those that it chooses for `bar`."""
    length = timeframe(bar)
    if spec is not None:
        chosen = spec.chosen(length)
    else:
        chosen = [(indicator, indicator.resolved({})) for indicator in indicators().values()]
    bars = _example(length)
    found = [_entry(indicator, parameters, bars) for indicator, parameters in chosen]
    order = list(dict.fromkeys(entry.group for entry in found))
    return sorted(found, key=lambda entry: order.index(entry.group))


def markdown(entries: list[Entry]) -> str:
    """Return the catalogue as a page of tables, one a group."""
    groups = [(name, list(members)) for name, members in groupby(entries, key=lambda entry: entry.group)]
    total = sum(len(entry.columns) for entry in entries)
    lines = [HEAD, f"{len(entries)} indicators in {len(groups)} groups publish {total} columns per timeframe.", ""]
    for name, members in groups:
        lines += [f"## {name} ({sum(len(entry.columns) for entry in members)} columns)", "", *_table(members), ""]
    return "\n".join(lines)


def _table(members: list[Entry]) -> Iterator[str]:
    yield "| indicator | columns | parameters | warm-up | what | source |"
    yield "|---|---|---|---|---|---|"
    for entry in members:
        columns = ", ".join(f"`{name}`" for name in entry.columns)
        parameters = "; ".join(f"{name} {text}" for name, text in entry.parameters.items())
        warm_up = f"{entry.warm_up}" + (f", learns from {entry.memory}" if entry.memory else "")
        cells = (entry.name, columns, parameters, warm_up, entry.formula, entry.source)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _entry(indicator: Indicator, parameters: dict[str, Any], bars: Bars) -> Entry:
    state = indicator.learn(bars, parameters)
    names = tuple(indicator.compute(bars, parameters, state))
    return Entry(
        name=indicator.name,
        group=indicator.group,
        columns=tuple(name.replace(f"_{bars.timeframe.code}", "_<tf>", 1) for name in names),
        parameters={name: _range(parameter, parameters[name]) for name, parameter in indicator.parameters.items()},
        warm_up=indicator.warm_up(parameters),
        memory=indicator.memory(parameters),
        reads=indicator.reads,
        formula=indicator.formula,
        source=indicator.source,
    )


def _range(parameter: Parameter, value: Any) -> str:
    shown = ", ".join(f"{one:g}" for one in value) if isinstance(value, tuple) else f"{value:g}"
    return f"{shown} [{parameter.low:g}, {parameter.high:g}]"


def _example(bar: Timeframe) -> Bars:
    """Return simulated bars with one slower timeframe, by which the columns' names are found."""
    from fxgpt_core.features.alignment import last_known
    from fxgpt_core.market.providers.simulator import simulate
    from fxgpt_core.market.resampling import resample

    start = np.datetime64("2024-01-03T00:00", "ns")
    candles = simulate("EURUSD", bar, start=start, bars=_BARS, seed=1)
    if bar.minutes >= timeframe("1d").minutes:
        return Bars.of(candles)
    slow = resample(candles, "1d")
    never = np.empty(0, "datetime64[ns]")
    nothing = Releases(never, np.empty(0, bool), np.empty(0, np.int8), never)
    beside = SlowerBars(Bars.of(slow), last_known(candles.known_at, slow.known_at))
    return Bars.of(candles, (beside,), nothing)
