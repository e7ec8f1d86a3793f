"""Volatility, candles and past returns against their formulas, bar by bar in plain Python, SciPy and literal tables."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.registry import indicators
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=900, seed=4)
BARS = Bars.of(CANDLES)
R = BARS.log_return
GROUPS = ("ohlc", "ohlc_same", "returns", "volatility")
OURS = [i for i in indicators().values() if i.group in GROUPS]


def columns(name: str, bars: Bars = BARS, **parameters: object) -> dict[str, np.ndarray]:
    found = indicators()[name]
    return found.compute(bars, found.resolved(parameters))


def bars_of(prices: list[tuple[float, float, float, float]], start: str = "2024-01-03T00:00") -> Bars:
    """Hourly bars of (open, high, low, close)."""
    stamps = np.datetime64(start, "ns") + np.arange(len(prices)) * np.timedelta64(1, "h")
    arrays = [np.array(side) for side in zip(*prices, strict=True)]
    nothing = np.full(len(prices), np.nan)
    return Bars("EURUSD", CANDLES.timeframe, stamps, stamps + np.timedelta64(1, "h"), *arrays, nothing, nothing)


def still_bars(count: int) -> Bars:
    return bars_of([(1.1, 1.1, 1.1, 1.1)] * count)


@pytest.mark.parametrize("row", [300, 555, 899])
def test_bipower_and_the_jump_statistic_follow_their_formulas(row: int) -> None:
    def window(n: int) -> list[float]:
        return [abs(float(x)) for x in R[row - n + 1 : row + 1]]

    for n in (24, 192):
        r = window(n)
        realised = sum(x * x for x in r)
        bipower = math.pi / 2 * n / (n - 1) * sum(a * b for a, b in pairwise(r))
        assert columns("jump_share")[f"jump_share_1h_{n}"][row] == pytest.approx(1 - bipower / realised)
    r, n = window(72), 72
    realised = sum(x * x for x in r)
    bipower = math.pi / 2 * n / (n - 1) * sum(a * b for a, b in pairwise(r))
    mu = 2 ** (2 / 3) * math.gamma(7 / 6) / math.gamma(0.5)
    triples = sum((a * b * c) ** (4 / 3) for a, b, c in zip(r, r[1:], r[2:], strict=False))
    tripower = n * mu**-3 * n / (n - 2) * triples
    theta = math.pi**2 / 4 + math.pi - 5
    z = (1 - bipower / realised) / math.sqrt(theta / n * max(1.0, tripower / bipower**2))
    assert columns("jump_z")["jump_z_1h_72"][row] == pytest.approx(z)


def test_a_jump_is_told_from_ordinary_moves() -> None:
    r = np.random.default_rng(0).normal(0, 1e-4, 400)
    r[300] = 3e-3
    close = np.exp(np.r_[0.0, np.cumsum(r)])
    found = columns("jump_z", bars_of([(c, c, c, c) for c in close]))["jump_z_1h_72"]
    assert abs(found[299]) < 3
    assert found[301] > 5


def test_sides_tails_and_quarticity_follow_their_formulas() -> None:
    row = 700
    for n in (12, 48, 192):
        r = R[row - n + 1 : row + 1]
        assert columns("semivariance")[f"semi_up_1h_{n}"][row] == pytest.approx((r[r > 0] ** 2).sum() / (r**2).sum())
    for n in (24, 192):
        r = R[row - n + 1 : row + 1]
        expected = math.log(n / 3 * (r**4).sum() / (r**2).sum() ** 2)
        assert columns("quarticity")[f"quarticity_1h_{n}"][row] == pytest.approx(expected)
    for at in (96, 97, 150, row, 899):
        q05, q25, q50, q75, q95 = np.quantile(R[at - 95 : at + 1], [0.05, 0.25, 0.5, 0.75, 0.95])
        found = columns("tails")
        assert found["tail_skew_1h_96"][at] == pytest.approx((q95 + q05 - 2 * q50) / (q95 - q05))
        assert found["tail_width_1h_96"][at] == pytest.approx(math.log((q95 - q05) / (q75 - q25)))


def test_quantiles_of_moving_windows_hold_with_many_equal_values() -> None:
    from fxgpt_core.features.kernels.statistics import quantiles

    values = np.random.default_rng(1).integers(-2, 3, 500).astype(float)
    found = quantiles(values, 30, np.array([0.05, 0.5, 0.9]))
    for row in range(29, 500):
        np.testing.assert_allclose(found[row], np.quantile(values[row - 29 : row + 1], [0.05, 0.5, 0.9]))


def parkinson(row: int, n: int) -> float:
    logs = np.log(CANDLES.high[row - n + 1 : row + 1] / CANDLES.low[row - n + 1 : row + 1])
    return float(np.sqrt(np.mean(logs**2) / (4 * math.log(2))))


def test_ratios_ranks_and_variability_of_volatility_follow_their_formulas() -> None:
    row = 800
    ratio = columns("volatility_ratio")
    for n in (6, 24, 72):
        assert ratio[f"vratio_1h_{n}_{4 * n}"][row] == pytest.approx(
            math.log(parkinson(row, n) / parkinson(row, 4 * n))
        )
    logs = [math.log(parkinson(t, 6)) for t in range(row - 47, row + 1)]
    assert columns("volatility_of_volatility")["vov_1h_6_48"][row] == pytest.approx(np.std(logs))
    past = [parkinson(t, 12) for t in range(row - 287, row)]
    share = sum(x < parkinson(row, 12) for x in past) / 287
    assert columns("volatility_rank")["vrank_1h_12"][row] == pytest.approx(share)
    rms = float(np.sqrt(np.mean(R[row - 11 : row + 1] ** 2)))
    assert columns("estimators")["est_pk_cc_1h_12"][row] == pytest.approx(math.log(parkinson(row, 12) / rms))
    r = R[row - 96 : row + 1]
    expected = stats.pearsonr(r[:-1], np.abs(r[1:])).statistic
    assert columns("leverage")["leverage_1h_96"][row] == pytest.approx(expected)


def test_candles_against_a_table_by_hand() -> None:
    found = {}
    made = bars_of([(1.00, 1.04, 0.99, 1.03), (1.03, 1.05, 1.01, 1.02), (1.06, 1.06, 1.06, 1.06)])
    for name in ("ohlc", "body", "candle", "previous_bar"):
        found |= columns(name, made)
    expected = {
        "open_gap_1h": [math.nan, 0.0, math.log(1.06 / 1.02)],
        "high_open_1h": [math.log(1.04), math.log(1.05 / 1.03), 0.0],
        "low_open_1h": [math.log(0.99), math.log(1.01 / 1.03), 0.0],
        "close_open_1h": [math.log(1.03), math.log(1.02 / 1.03), 0.0],
        "close_close_1h": [math.nan, math.log(1.02 / 1.03), math.log(1.06 / 1.02)],
        "body_share_1h": [0.6, -0.25, 0.0],
        "upper_share_1h": [0.2, 0.5, 0.0],
        "lower_share_1h": [0.2, 0.25, 0.0],
        "overlap_1h": [math.nan, 0.03 / 0.06, -0.01 / 0.05],
        "close_before_1h": [math.nan, 0.6, 1.25],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-12, err_msg=name)
    pressure = columns("candle_pressure", made, window=2)
    parts = ((0.01 - 0.01) / 1.03 + (0.01 - 0.02) / 1.02, 0.03 / 1.03 + 0.01 / 1.02, 0.05 / 1.03 + 0.04 / 1.02)
    assert pressure["shadows_1h_2"][1] == pytest.approx(parts[0] / parts[2])
    assert pressure["bodies_1h_2"][1] == pytest.approx(parts[1] / parts[2])


def test_a_range_is_measured_by_those_before_it() -> None:
    span = np.log(CANDLES.high / CANDLES.low)
    found = columns("range_expansion")["expansion_1h_14"]
    assert found[500] == pytest.approx(math.log(span[500] / span[486:500].mean()))


def test_momentum_and_its_changes_follow_their_formulas() -> None:
    row = 600
    r12, before = R[row - 11 : row + 1], R[row - 23 : row - 11]
    energy = math.sqrt((r12**2).sum() + (before**2).sum())
    assert columns("momentum_change")["mom_change_1h_12"][row] == pytest.approx((r12.sum() - before.sum()) / energy)
    long = R[row - 12 - 95 : row - 11]
    product = r12.sum() / math.sqrt((r12**2).sum()) * long.sum() / math.sqrt((long**2).sum())
    found = columns("momentum_agreement")["mom_agree_1h_12_96"]
    assert found[row] == pytest.approx(product / (1 + abs(product)))


def test_shocks_are_measured_by_what_was_usual_before() -> None:
    row, found = 650, columns("shock")
    last, usual = R[row - 23 : row + 1], math.sqrt(np.mean(R[row - 119 : row - 23] ** 2))
    assert found["shock_1h_24"][row] == pytest.approx(R[row] / math.sqrt(np.mean(R[row - 24 : row] ** 2)))
    assert found["ret_max_1h_24"][row] == pytest.approx(last.max() / usual)
    assert found["ret_min_1h_24"][row] == pytest.approx(last.min() / usual)
    at = int(np.argmax(np.abs(last)))
    assert found["undone_1h_24"][row] == pytest.approx(np.clip(-last[at + 1 :].sum() / last[at], -2, 2))


def test_the_weekend_gap_is_told_and_fades() -> None:
    week = (CANDLES.ts_utc - np.datetime64("2024-01-07T22:00")) // np.timedelta64(7, "D")
    first = int(np.flatnonzero(np.diff(week.astype(int)) == 1)[-1]) + 1
    usual = math.sqrt(np.mean(R[first - 60 : first] ** 2))
    found = columns("weekend_gap")
    gap = math.log(CANDLES.open[first] / CANDLES.close[first - 1]) / usual
    left = math.log(CANDLES.close[first + 48] / CANDLES.close[first - 1]) / usual
    assert abs(gap) > 0.1
    assert found["week_gap_1h_60"][first] == pytest.approx(gap)
    assert found["week_gap_1h_60"][first + 24] == pytest.approx(gap / 2)
    assert found["week_gap_left_1h_60"][first + 48] == pytest.approx(left / 4)
    assert found["week_gap_1h_60"][first - 1] != pytest.approx(gap)


def test_a_market_that_stands_still_has_neutral_values() -> None:
    neutral = {"semi_up": 0.5, "tail_width": 0.8907, "overlap": 1.0, "close_before": 0.5, "vrank": 0.5}
    for indicator in OURS:
        for name, values in indicator.compute(still_bars(700), indicator.resolved({})).items():
            stem = name.split("_1h")[0]
            if indicator.name not in ("har", "bollinger"):
                assert values[-1] == pytest.approx(neutral.get(stem, 0.0), abs=1e-12), name


@pytest.mark.parametrize("indicator", OURS, ids=lambda i: i.name)
def test_neither_price_level_nor_the_future_changes_a_value(indicator) -> None:  # type: ignore[no-untyped-def]
    parameters = indicator.resolved({})
    whole = indicator.compute(BARS, parameters)
    scaled = replace(BARS, **{n: getattr(BARS, n) * 128.0 for n in ("open", "high", "low", "close")})
    for name, values in indicator.compute(scaled, parameters).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-6, atol=1e-7, err_msg=name)
    for name, values in indicator.compute(BARS.part(slice(0, 613)), parameters).items():
        np.testing.assert_array_equal(values, whole[name][:613], err_msg=name)


@pytest.mark.parametrize("indicator", OURS, ids=lambda i: i.name)
def test_nothing_lies_further_back_than_a_block(indicator) -> None:  # type: ignore[no-untyped-def]
    parameters = indicator.resolved({})
    whole, later = indicator.compute(BARS, parameters), indicator.compute(BARS.part(slice(200, None)), parameters)
    for name, values in later.items():
        away = np.abs(values[512:] - whole[name][712:]).max() / max(np.nanstd(whole[name]), 1e-12)
        assert away < 1e-6, name


def test_an_even_market_gives_no_infinite_logs() -> None:
    silent = simulate("USDJPY", "5m", start=np.datetime64("2024-01-03T00:00", "ns"), bars=800, seed=2)
    flat = Candles(
        silent.symbol, silent.timeframe, silent.side, silent.ts_utc,
        *(np.where(np.arange(800) < 400, 150.0, side) for side in (silent.open, silent.high, silent.low, silent.close)),
        volume=silent.volume, spread=silent.spread,
    )  # fmt: skip
    for indicator in OURS:
        for name, values in indicator.compute(Bars.of(flat), indicator.resolved({})).items():
            assert np.isfinite(values[360:]).all(), name
