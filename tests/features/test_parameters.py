"""Whatever parameters an indicator allows, it computes, looks nowhere ahead and gives no infinity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fxgpt_core.features.alignment import last_known
from fxgpt_core.features.bars import Bars, Releases, SlowerBars
from fxgpt_core.features.blocks import REACH
from fxgpt_core.features.parameters import Parameter
from fxgpt_core.features.registry import indicators
from fxgpt_core.market.providers.simulator import simulate

START = np.datetime64("2024-01-03T00:00", "ns")
CANDLES, SLOW = (simulate("EURUSD", code, start=START, bars=bars, seed=4) for code, bars in (("1h", 900), ("4h", 225)))
PAST = Bars.of(simulate("EURUSD", "1h", start=START - np.timedelta64(84, "D"), bars=1200, seed=5))
TIMES = START + np.arange(-200, 1400) * np.timedelta64(60, "m")
RELEASES = Releases(
    TIMES,
    np.arange(len(TIMES)) % 3 == 0,
    (np.arange(len(TIMES)) % 4).astype(np.int8),
    TIMES - (np.arange(len(TIMES)) % 50) * np.timedelta64(60, "m"),
)
CUT = 700


def seen(bars: int) -> Bars:
    """Return what is known at the close of bar number `bars`."""
    candles = CANDLES.take(slice(0, bars))
    moment = candles.known_at[-1]
    slow = SLOW.until(moment)
    beside = SlowerBars(Bars.of(slow), last_known(candles.known_at, slow.known_at))
    return Bars.of(candles, (beside,), RELEASES.public(moment))


WHOLE, PART = seen(len(CANDLES)), seen(CUT)


def drawn(parameter: Parameter, where: float, rng: np.random.Generator) -> Any:
    """Return the lowest (0) or highest (1) value of a parameter, any other for NaN; several where it has several."""

    def one(offset: int) -> int | float:
        if np.isnan(where):
            value = rng.uniform(parameter.low, parameter.high)
        else:
            value = parameter.low + offset if where == 0 else parameter.high - offset
        return round(value) if parameter.whole else float(value)

    if not isinstance(parameter.default, tuple):
        return one(0)
    return sorted({one(offset) for offset in range(len(parameter.default))})


@pytest.mark.parametrize("where", [0.0, 1.0, np.nan], ids=["lowest", "highest", "any"])
def test_every_indicator_keeps_its_word_for_all_parameters(where: float) -> None:
    rng = np.random.default_rng(0)
    for name, indicator in indicators().items():
        chosen = {key: drawn(parameter, where, rng) for key, parameter in indicator.parameters.items()}
        parameters = indicator.resolved(chosen)
        state = indicator.learn(PAST, parameters)
        whole, part = (indicator.compute(bars, parameters, state) for bars in (WHOLE, PART))
        assert list(whole) == list(part)
        for column, values in whole.items():
            assert not np.isinf(values).any(), (name, column, parameters)
            known = values[:CUT].astype(np.float32)
            np.testing.assert_array_equal(part[column].astype(np.float32), known, err_msg=f"{column} {parameters}")


@pytest.mark.parametrize("where", [0.0, 1.0, np.nan], ids=["lowest", "highest", "any"])
def test_windowed_indicators_need_no_more_than_their_reach(where: float) -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(REACH + 1, len(WHOLE), 3)
    for name, indicator in indicators().items():
        chosen = {key: drawn(parameter, where, rng) for key, parameter in indicator.parameters.items()}
        for parameters in (indicator.resolved(chosen), indicator.resolved({})):
            if not indicator.windowed or indicator.warm_up(parameters) > REACH:
                continue
            state = indicator.learn(PAST, parameters)
            whole = indicator.compute(WHOLE, parameters, state)
            for row in rows:
                near = replace(
                    WHOLE.part(slice(row - REACH, row + 1)),
                    slower=tuple(SlowerBars(s.bars, s.row[row - REACH : row + 1]) for s in WHOLE.slower),
                    releases=RELEASES,
                )
                for column, values in indicator.compute(near, parameters, state).items():
                    pair = np.float32(
                        [values[-1], whole[column][row]]
                    )  # as stored: logs of arrays of other lengths may
                    assert np.array_equal(pair[0], pair[1], equal_nan=True), (
                        name,
                        column,
                        parameters,
                    )  # differ at 1e-16
