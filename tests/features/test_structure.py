"""Market structure against brute force from the definitions; causal, free of the price's scale, short of memory."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.indicators.structure import FAR
from fxgpt_core.features.registry import indicators
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=900, seed=11)
BARS = Bars.of(CANDLES)
HIGH, LOW, OPEN, CLOSE = (list(map(float, v)) for v in (BARS.high, BARS.low, BARS.open, BARS.close))
ROWS = range(60, 900, 7)


def columns(bars: Bars, *names: str) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for indicator in indicators().values():
        if indicator.group == "structure" and (not names or indicator.name in names):
            out |= indicator.compute(bars, indicator.resolved({}))
    return out


FOUND = columns(BARS)


def unit(row: int, period: int = 24) -> float:
    true = [max(HIGH[i], CLOSE[i - 1]) - min(LOW[i], CLOSE[i - 1]) for i in range(row - period + 1, row + 1)]
    return sum(true) / period


def cut(value: float) -> float:
    return max(-FAR, min(FAR, value))


def highs_known(high: list[float], row: int, width: int, reach: int = 128) -> list[int]:
    """Swing highs known at a row, oldest first."""
    out = []
    for top in range(max(width, row - reach), row - width + 1):
        before, after = high[top - width : top], high[top + 1 : top + width + 1]
        if max(before) < high[top] >= max(after):
            out.append(top)
    return out


@pytest.mark.parametrize("width", [3, 10])
def test_swings_follow_their_definition(width: int) -> None:
    lows = [-v for v in LOW]
    for row in ROWS:
        tops, bottoms = highs_known(HIGH, row, width), highs_known(lows, row, width)
        got = {name: values[row] for name, values in FOUND.items()}
        high_step = cut((HIGH[tops[-1]] - HIGH[tops[-2]]) / unit(row)) if len(tops) > 1 else 0.0
        low_step = cut((LOW[bottoms[-1]] - LOW[bottoms[-2]]) / unit(row)) if len(bottoms) > 1 else 0.0
        assert got[f"swing_high_age_1h_{width}"] == ((row - tops[-1]) / 128 if tops else 1.0)
        assert got[f"swing_low_age_1h_{width}"] == ((row - bottoms[-1]) / 128 if bottoms else 1.0)
        assert got[f"swing_high_step_1h_{width}"] == pytest.approx(high_step, abs=1e-9)
        assert got[f"swing_low_step_1h_{width}"] == pytest.approx(low_step, abs=1e-9)
        assert got[f"swing_trend_1h_{width}"] == (np.sign(high_step) + np.sign(low_step)) / 2
        if tops and bottoms:
            top, bottom = HIGH[tops[-1]], LOW[bottoms[-1]]
            assert got[f"swing_high_dist_1h_{width}"] == pytest.approx(cut((top - CLOSE[row]) / unit(row)), abs=1e-9)
            assert got[f"swing_low_dist_1h_{width}"] == pytest.approx(cut((CLOSE[row] - bottom) / unit(row)), abs=1e-9)
            if top > bottom:
                place = (CLOSE[row] - bottom) / (top - bottom)
                assert got[f"swing_pos_1h_{width}"] == pytest.approx(max(-1.0, min(2.0, place)), abs=1e-9)


def test_a_swing_is_not_known_before_the_bar_that_confirms_it() -> None:
    price = np.r_[np.arange(1.0, 1.2, 0.01), np.arange(1.2, 1.0, -0.01)]  # one top, at row 20
    count = len(price)
    flat = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=count, seed=1)
    bars = replace(Bars.of(flat), open=price, close=price, high=price + 0.001, low=price - 0.001)
    age = columns(bars, "swings")["swing_high_age_1h_3"] * 128
    top = int(np.argmax(bars.high))
    assert (age[: top + 3] == 128).all()
    assert age[top + 3] == 3


def events(row: int, width: int, sign: int) -> tuple[int, int]:
    """The break and the sweep at a row of the last swing high (sign 1) or low (-1)."""
    high, close = (HIGH, CLOSE) if sign > 0 else ([-v for v in LOW], [-v for v in CLOSE])
    tops = highs_known(high, row, width)
    if not tops or any(close[s] > high[tops[-1]] for s in range(tops[-1] + width, row)):
        return 0, 0
    if close[row] > high[tops[-1]]:
        return sign, 0
    return 0, -sign if high[row] > high[tops[-1]] > close[row] else 0


@pytest.mark.parametrize("width", [3, 10])
def test_breaks_and_sweeps_follow_their_definition(width: int) -> None:
    found = [[events(row, width, sign) for sign in (1, -1)] for row in range(900)]
    broke = [up[0] or down[0] for up, down in found]
    swept = [down[1] or up[1] for up, down in found]
    assert sum(map(abs, broke)) > 15
    for row in range(0, 900, 3):
        for name, happened in (("bos", broke), ("sweep", swept)):
            last = next((s for s in range(row, -1, -1) if happened[s]), None)
            expected = 0.0 if last is None or row - last >= 128 else happened[last] * (1 - (row - last) / 128)
            assert FOUND[f"{name}_1h_{width}"][row] == pytest.approx(expected), (name, row)
        recent = broke[max(0, row - 127) : row + 1]
        expected = sum(recent) / max(1, sum(map(abs, recent)))
        assert FOUND[f"bos_balance_1h_{width}"][row] == pytest.approx(expected)


def blocks_open(row: int, sign: int) -> tuple[list[tuple[float, int]], int | None]:
    """Open order blocks at a row as (middle, row), in prices times `sign`, and the last displacement."""
    high, low = (HIGH, LOW) if sign > 0 else ([-v for v in LOW], [-v for v in HIGH])
    opened, close = ([sign * v for v in values] for values in (OPEN, CLOSE))
    blocks, last, used = [], None, set()
    for since in range(max(25, row - 261), row + 1):
        if close[since] - opened[since] < 1.5 * unit(since - 1):
            continue
        last = since if row - since < 256 else None
        falling = [i for i in range(since - 5, since) if close[i] < opened[i]]
        if not falling or close[since] <= high[falling[-1]] or falling[-1] in used:
            continue
        used.add(falling[-1])
        middle = (high[falling[-1]] + low[falling[-1]]) / 2
        if row - since < 256 and all(low[s] > middle for s in range(since + 1, row + 1)):
            blocks.append((middle, since))
    return blocks, last


def test_order_blocks_follow_their_definition() -> None:
    seen = 0
    for row in ROWS:
        last = {}
        for sign, name in ((1, "bull"), (-1, "bear")):
            blocks, last[sign] = blocks_open(row, sign)
            seen += len(blocks)
            distance, age = FAR, 1.0
            if blocks:
                middle, since = max(blocks)
                distance, age = cut((sign * CLOSE[row] - middle) / unit(row)), (row - since) / 256
            assert FOUND[f"ob_{name}_dist_1h"][row] == pytest.approx(distance, abs=1e-9)
            assert FOUND[f"ob_{name}_age_1h"][row] == age
            assert FOUND[f"ob_{name}_count_1h"][row] == pytest.approx(math.log1p(len(blocks)))
        newest = max((since, sign) for sign, since in ((s, -1 if last[s] is None else last[s]) for s in last))
        expected = newest[1] * (1 - (row - newest[0]) / 256) if newest[0] >= 0 else 0.0
        assert FOUND["displacement_1h"][row] == pytest.approx(expected)
    assert seen > 50


def test_fair_value_gaps_follow_their_definition() -> None:
    seen = 0
    for row in ROWS:
        for sign, name in ((1, "up"), (-1, "down")):
            high, low = (HIGH, LOW) if sign > 0 else ([-v for v in LOW], [-v for v in HIGH])
            gaps = [
                (high[i - 2], i, low[i] - high[i - 2])
                for i in range(max(24, row - 255), row + 1)
                if low[i] - high[i - 2] >= 0.1 * unit(i) and all(low[s] > high[i - 2] for s in range(i + 1, row + 1))
            ]
            seen += len(gaps)
            edge, since, size = max(gaps) if gaps else (math.nan, row - 256, 0.0)
            distance = cut((sign * CLOSE[row] - edge) / unit(row)) if gaps else FAR
            assert FOUND[f"fvg_{name}_dist_1h"][row] == pytest.approx(distance, abs=1e-9)
            assert FOUND[f"fvg_{name}_size_1h"][row] == pytest.approx(size / unit(row), abs=1e-9)
            assert FOUND[f"fvg_{name}_age_1h"][row] == (row - since) / 256
            assert FOUND[f"fvg_{name}_count_1h"][row] == pytest.approx(math.log1p(len(gaps)))
    assert seen > 50


def test_the_price_scale_does_not_matter() -> None:
    names = ("open", "high", "low", "close")
    scaled = columns(replace(BARS, **{name: getattr(BARS, name) * 137.0 for name in names}))
    for name, values in FOUND.items():
        np.testing.assert_allclose(scaled[name], values, rtol=1e-9, atol=1e-9, err_msg=name)


def test_flat_prices_give_finite_columns() -> None:
    still = np.full(300, 1.1)
    bars = replace(Bars.of(CANDLES.take(slice(0, 300))), open=still, high=still, low=still, close=still)
    for name, values in columns(bars).items():
        assert np.isfinite(values[24:]).all(), name
        assert len(np.unique(values[24:])) == 1, name


def test_cutting_the_future_or_the_distant_past_off_changes_nothing() -> None:
    def take(rows: slice) -> dict[str, np.ndarray]:
        part: Candles = CANDLES.take(rows)
        return columns(Bars.of(part))

    for name, values in take(slice(0, 640)).items():
        np.testing.assert_array_equal(values, FOUND[name][:640], err_msg=name)
    for name, values in take(slice(100, None)).items():
        np.testing.assert_array_equal(values[512:], FOUND[name][612:], err_msg=name)
