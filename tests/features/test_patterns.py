"""Candlestick patterns on candles drawn by hand; counts and memories by plain loops; causal, free of scale."""

from dataclasses import replace

import numpy as np
import pytest

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.indicators.patterns import SHAPES, SIGNALS
from fxgpt_core.features.registry import indicators
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=900, seed=61)
BARS = Bars.of(CANDLES)
QUIET = [(100, 113, 97, 110), (110, 113, 97, 100)] * 10  # bodies of 10, ranges of 16, to and fro

# Candles (open, high, low, close) that follow the quiet ones, in points; the column they show in, and its value.
DRAWN = {
    "doji": ([(105, 111, 99, 105.2)], "doji", 1),
    "doji with a long lower shadow": ([(110, 110.2, 95, 110)], "dragonfly", 1),
    "doji with a long upper shadow": ([(100, 115, 99.9, 100)], "gravestone", 1),
    "doji in the middle of a long range": ([(105, 115, 95, 105.2)], "rickshaw", 1),
    "rising body without shadows": ([(100, 120, 100, 120)], "marubozu", 1),
    "falling body without shadows": ([(120, 120, 100, 100)], "marubozu", -1),
    "long rising body that closes at its high": ([(100, 120, 94, 120)], "closing_marubozu", 1),
    "long falling body that opens at its high": ([(120, 120, 95, 100)], "belt_hold", -1),
    "long body, short shadows": ([(100, 122, 98, 120)], "long_line", 1),
    "short body, short shadows": ([(105, 109, 104, 108)], "short_line", 1),
    "small rising body, longer shadows": ([(105, 112, 101, 108)], "spinning_top", 1),
    "small falling body, very long shadows": ([(108, 118, 95, 105)], "high_wave", -1),
    "small body on a long leg at the low": ([(97, 99.2, 85, 99)], "hammer", 1),
    "small body on a long leg at the high": ([(112.5, 115.1, 98, 115)], "hanging_man", -1),
    "small body under a long shadow, below": ([(98, 112, 96.9, 97)], "inverted_hammer", 1),
    "small body under a long shadow, above": ([(100, 113, 97, 110), (111, 125, 110.9, 113)], "shooting_star", -1),
    "rise that engulfs a fall": ([(99, 113, 98, 112)], "engulfing", 1),
    "rise that engulfs a fall from its close": ([(100, 113, 98, 112)], "engulfing", 0.8),
    "fall that engulfs a rise": ([(100, 113, 97, 110), (111, 112, 96, 99)], "engulfing", -1),
    "short rise within a long fall": ([(120, 121, 99, 100), (105, 111, 104, 110)], "harami", 1),
    "short fall within a long rise": ([(100, 121, 99, 120), (115, 116, 109, 110)], "harami", -1),
    "doji within a long fall": ([(120, 121, 99, 100), (108, 109, 107, 108.1)], "harami_cross", 1),
    "doji above a long rise": ([(100, 121, 99, 120), (123, 124, 122, 123.1)], "doji_star", -1),
    "two falls to one close": ([(112, 113, 99, 100), (106, 107, 99, 100)], "matching_low", 1),
    "rise from where the fall opened": ([(110, 124, 110, 123)], "separating_lines", 1),
    "rise from below a long fall into it": ([(120, 121, 99, 100), (97, 114, 96, 112)], "piercing_cloud", 1),
    "fall from above a long rise into it": ([(100, 121, 99, 120), (123, 124, 105, 106)], "piercing_cloud", -1),
    "fall, star below, rise": ([(120, 121, 99, 100), (97, 98, 94, 95), (98, 116, 97, 115)], "star", 1),
    "rise, star above, fall": ([(100, 121, 99, 120), (123, 126, 122, 125), (121, 122, 103, 104)], "star", -1),
    "harami, close beyond": ([(120, 121, 99, 100), (104, 110, 103, 109), (109, 123, 108, 122)], "three_inside", 1),
    "engulfing, then a higher close": ([(99, 113, 98, 112), (112, 119, 111, 118)], "three_outside", 1),
    "three rises, one fall below them all": (
        [(100, 112, 99, 111), (108, 119, 107, 118), (115, 126, 114, 125), (127, 128, 97, 98)],
        "three_strike",
        1,
    ),
    "three long rises": ([(100, 112.2, 99, 112), (108, 121.2, 107, 121), (117, 130.2, 116, 130)], "soldiers_crows", 1),
    "three long falls": (
        [(100, 113, 97, 110), (109, 110, 96.9, 97), (101, 102, 87.9, 88), (92, 93, 78.9, 79)],
        "soldiers_crows",
        -1,
    ),
    "three rises that tire": ([(100, 116, 99, 115), (110, 124, 109, 119), (117, 127, 116, 121)], "advance_block", -1),
    "rise, long rise, small rise on top": (
        [(100, 112, 99, 111), (109, 123, 108, 122.5), (121.5, 125, 121, 124)],
        "stalled",
        -1,
    ),
    "gap upwards, filled": ([(100, 113, 97, 110), (114, 125, 113.5, 124), (119, 120, 104, 105)], "gap_methods", 1),
    "inside bar, then a higher one": ([(102, 108, 101, 107), (106, 116, 103, 112)], "hikkake", -0.5),
    "inside bar, a higher one, a close below it": (
        [(102, 108, 101, 107), (106, 116, 103, 112), (111, 112, 98, 99)],
        "hikkake",
        -1,
    ),
}  # fmt: skip


def columns(bars: Bars) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for indicator in indicators().values():
        if indicator.group == "patterns":
            out |= indicator.compute(bars, indicator.resolved({}))
    return out


FOUND = columns(BARS)


def drawn(candles: list[tuple[float, float, float, float]], point: float = 1e-4) -> dict[str, np.ndarray]:
    table = 1.0 + point * np.array([*QUIET, *candles], dtype=np.float64)
    opened, high, low, close = (np.ascontiguousarray(table[:, index]) for index in range(4))
    part = Bars.of(CANDLES.take(slice(0, len(table))))
    return columns(replace(part, open=opened, high=high, low=low, close=close))


@pytest.mark.parametrize("what", DRAWN)
def test_patterns_are_found_where_they_are_drawn(what: str) -> None:
    candles, name, expected = DRAWN[what]
    assert drawn(candles)[f"cdl_{name}_1h"][-1] == expected


def test_every_pattern_is_drawn() -> None:
    assert {name for _, name, _ in DRAWN.values()} == {*SHAPES, *SIGNALS}


def test_the_quiet_candles_show_nothing_but_their_own_shape() -> None:
    for name, values in drawn([]).items():
        if name.removeprefix("cdl_").split("_1h")[0] in {*SHAPES, *SIGNALS}:
            assert (values[-5:] == 0).all(), name


def test_confidences_lie_within_one() -> None:
    for name, values in FOUND.items():
        assert np.isfinite(values[36:]).all(), name
        assert np.abs(values[36:]).max() <= 1.0, name


def test_balance_and_indecision_count_the_window() -> None:
    signals = np.array([FOUND[f"cdl_{name}_1h"] for name in SIGNALS])
    unsure = [np.abs(FOUND[f"cdl_{name}_1h"]) for name in ("doji", "high_wave", "spinning_top")]
    for row in range(40, 900, 3):
        for window in (3, 24):
            part = signals[:, row - window + 1 : row + 1]
            up, down = int((part > 0).sum()), int((part < 0).sum())
            assert FOUND[f"cdl_balance_1h_{window}"][row] == pytest.approx((up - down) / (up + down + 1))
        share = sum(any(kind[at] for kind in unsure) for at in range(row - 11, row + 1)) / 12
        assert FOUND["cdl_indecision_1h_12"][row] == pytest.approx(share)


@pytest.mark.parametrize(
    ("stem", "names"),
    [
        ("cdl_engulf_last", ("engulfing",)),
        ("cdl_hammer_last", ("hammer", "inverted_hammer", "hanging_man", "shooting_star")),
        ("cdl_three_last", ("three_inside", "three_outside", "star", "soldiers_crows")),
    ],
)
def test_the_last_pattern_fades(stem: str, names: tuple[str, ...]) -> None:
    events = [sum(FOUND[f"cdl_{name}_1h"][row] for name in names) for row in range(900)]
    seen = 0
    for row in range(80, 900, 3):
        last = next((at for at in range(row, row - 48, -1) if events[at]), None)
        expected = 0.0 if last is None else float(np.sign(events[last])) * (1 - (row - last) / 48)
        seen += last is not None
        assert FOUND[f"{stem}_1h_48"][row] == pytest.approx(expected)
    assert seen > 50


def test_rounding_left_from_earlier_bars_decides_nothing() -> None:
    # Prices on ticks: bodies often equal a tenth of the mean range exactly.
    names = ("open", "high", "low", "close")
    ticks = replace(BARS, **{name: np.round(getattr(BARS, name), 4) for name in names})
    found = columns(ticks)
    for first in range(1, 200, 7):
        for name, values in columns(ticks.part(slice(first, None))).items():
            np.testing.assert_array_equal(values[100:], found[name][first + 100 :], err_msg=name)


def test_the_price_scale_does_not_matter() -> None:
    names = ("open", "high", "low", "close")
    scaled = columns(replace(BARS, **{name: getattr(BARS, name) * 128.0 for name in names}))
    for name, values in FOUND.items():
        np.testing.assert_array_equal(scaled[name], values, err_msg=name)


def test_cutting_the_future_off_changes_nothing() -> None:
    for stop in (30, 333, 640):
        for name, values in columns(Bars.of(CANDLES.take(slice(0, stop)))).items():
            np.testing.assert_array_equal(values, FOUND[name][:stop], err_msg=name)
