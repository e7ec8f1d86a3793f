"""Memory, disorder and persistence of returns against their formulas in plain Python, NumPy and SciPy."""

import math
from dataclasses import replace
from itertools import groupby, permutations

import numpy as np
import pytest
from scipy import stats

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.indicators.statistics import expected_rescaled_range
from fxgpt_core.features.registry import indicators
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=900, seed=8)
BARS = Bars.of(CANDLES)
R = BARS.log_return
OURS = [i for i in indicators().values() if i.group == "statistics"]


def columns(name: str, bars: Bars = BARS, **parameters: object) -> dict[str, np.ndarray]:
    found = indicators()[name]
    return found.compute(bars, found.resolved(parameters))


def bars_from(returns: np.ndarray) -> Bars:
    close = np.exp(np.r_[0.0, np.cumsum(returns)])
    opens = np.r_[1.0, close[:-1]]
    stamps = np.datetime64("2024-01-03T00:00", "ns") + np.arange(len(close)) * np.timedelta64(1, "h")
    high, low = np.maximum(opens, close), np.minimum(opens, close)
    nothing = np.full(len(close), np.nan)
    return Bars("EURUSD", CANDLES.timeframe, stamps, stamps + np.timedelta64(1, "h"), opens, high, low, close, nothing, nothing)  # fmt: skip  # noqa: E501


def test_the_expected_rescaled_range_is_that_of_simulated_noise() -> None:
    noise = np.random.default_rng(0).normal(size=(20_000, 16))
    away = np.cumsum(noise - noise.mean(axis=1, keepdims=True), axis=1)
    ranges = np.maximum(away.max(axis=1), 0) - np.minimum(away.min(axis=1), 0)
    assert expected_rescaled_range(16) == pytest.approx((ranges / noise.std(axis=1)).mean(), rel=0.01)


def rescaled(values: np.ndarray) -> float:
    path = np.cumsum(values - values.mean())
    return float((max(path.max(), 0.0) - min(path.min(), 0.0)) / values.std())


@pytest.mark.parametrize("row", [64, 333, 899])
def test_hurst_exponents_follow_their_formulas(row: int) -> None:
    last = R[row - 63 : row + 1]
    lengths = np.array([8, 16, 32, 64])
    ratios = [np.mean([rescaled(p) for p in last.reshape(-1, n)]) / expected_rescaled_range(n) for n in lengths]
    expected = 0.5 + np.polyfit(np.log(lengths), np.log(ratios), 1)[0]
    assert columns("hurst")["hurst_1h_64"][row] == pytest.approx(np.clip(expected, 0, 1))
    price = np.log(CANDLES.close)
    if row >= 128:
        path, spans = price[row - 128 : row + 1], np.array([1, 2, 4, 8, 16])
        sizes = [np.mean(np.abs(path[k:] - path[:-k])) for k in spans]
        slope = np.polyfit(np.log(spans), np.log(sizes), 1)[0]
        assert columns("hurst_scaling")["hurst_scaling_1h_128"][row] == pytest.approx(slope)


def test_hurst_tells_persistent_from_reverting_series() -> None:
    noise = np.random.default_rng(3).normal(0, 1e-4, 4000)
    series = {"trend": np.convolve(noise, np.ones(8) / 8, "same"), "walk": noise, "revert": np.diff(noise)}
    means = {n: np.nanmean(columns("hurst", bars_from(r))["hurst_1h_64"]) for n, r in series.items()}
    assert means["revert"] < 0.3 < means["walk"] < 0.7 < means["trend"]
    assert means["walk"] == pytest.approx(0.5, abs=0.05)


def test_autocorrelations_agree_with_scipy() -> None:
    row = 700
    for name, stem, values, lags, window in (
        ("autocorrelation", "acf", R, (1, 2, 3), 64),
        ("size_autocorrelation", "acf_abs", np.abs(R), (1, 4, 12), 128),
    ):
        for lag in lags:
            now, before = values[row - window + 1 : row + 1], values[row - window + 1 - lag : row + 1 - lag]
            expected = stats.pearsonr(now, before).statistic
            assert columns(name)[f"{stem}_1h_{lag}_{window}"][row] == pytest.approx(expected)


def test_the_variance_ratio_follows_lo_and_mackinlay() -> None:
    row, n = 640, 144
    r = R[row - n + 1 : row + 1]
    for q in (4, 16):
        sums = [r[i : i + q].sum() for i in range(n - q + 1)]
        ratio = np.mean(np.square(sums)) / q / np.mean(r**2)
        theta = 0.0
        for j in range(1, q):
            delta = n * sum(r[k] ** 2 * r[k - j] ** 2 for k in range(j, n)) / np.sum(r**2) ** 2
            theta += (2 * (q - j) / q) ** 2 * delta
        expected = math.sqrt(n) * (ratio - 1) / math.sqrt(theta)
        assert columns("variance_ratio")[f"vr_z_1h_{q}_144"][row] == pytest.approx(expected)


def entropy(items: list[object], kinds: int) -> float:
    counts = [len(list(group)) for _, group in groupby(sorted(items, key=str), key=str)]
    shares = np.array(counts) / len(items)
    return float(-(shares * np.log(shares)).sum() / math.log(kinds))


def test_entropies_follow_their_definitions() -> None:
    row, close = 500, CANDLES.close
    for order, window in ((3, 48), (4, 144)):
        patterns = [tuple(np.argsort(close[t - order + 1 : t + 1], kind="stable")) for t in range(row - window + 1, row + 1)]  # fmt: skip  # noqa: E501
        found = columns("permutation_entropy")[f"perm_entropy_1h_{order}_{window}"]
        assert found[row] == pytest.approx(entropy(list(patterns), math.factorial(order)))
    words = ["".join("+" if x > 0 else "-" for x in R[t - 3 : t + 1]) for t in range(row - 95, row + 1)]
    assert columns("sign_entropy")["sign_entropy_1h_96"][row] == pytest.approx(entropy(list(words), 16))
    for window in (12, 48):
        shares = R[row - window + 1 : row + 1] ** 2
        shares = shares / shares.sum()
        expected = -(shares * np.log(shares)).sum() / math.log(window)
        assert columns("energy_entropy")[f"energy_entropy_1h_{window}"][row] == pytest.approx(expected)


def test_patterns_are_numbered_each_once_and_ties_count_as_rising() -> None:
    from fxgpt_core.features.kernels.statistics import ordinal_codes

    codes = {int(ordinal_codes(np.array(p, dtype=float), 4)[-1]) for p in permutations(range(4))}
    assert codes == set(range(24))
    assert ordinal_codes(np.array([1.0, 1.0, 1.0]), 3)[-1] == ordinal_codes(np.array([1.0, 2.0, 3.0]), 3)[-1]


def test_the_shape_of_returns_agrees_with_scipy() -> None:
    row, found = 620, columns("shape")
    for window in (36, 160):
        assert found[f"skew_1h_{window}"][row] == pytest.approx(stats.skew(R[row - window + 1 : row + 1]))
    expected = math.log(stats.kurtosis(R[row - 71 : row + 1], fisher=False) / 3)
    assert found["kurt_1h_72"][row] == pytest.approx(expected)


def test_straightness_against_its_definitions() -> None:
    row = 450
    for window in (10, 40, 160):
        r = R[row - window + 1 : row + 1]
        expected = abs(r.sum()) / np.abs(r).sum()
        assert columns("efficiency")[f"efficiency_1h_{window}"][row] == pytest.approx(expected)

    def span(first: int, stop: int) -> float:
        return float(CANDLES.high[first:stop].max() - CANDLES.low[first:stop].min())

    for window in (32, 128):
        start, half = row - window + 1, window // 2
        n1, n2, n3 = span(start, start + half) / half, span(start + half, row + 1) / half, span(start, row + 1) / window
        expected = np.clip((math.log(n1 + n2) - math.log(n3)) / math.log(2), 1, 2)
        assert columns("fractal_dimension")[f"fractal_dim_1h_{window}"][row] == pytest.approx(expected)


def test_runs_follow_wald_and_wolfowitz() -> None:
    row, n = 512, 64
    up = R[row - n + 1 : row + 1] > 0
    runs, rises = len(list(groupby(up))), int(up.sum())
    falls = n - rises
    mean = 2 * rises * falls / n + 1
    deviation = math.sqrt((mean - 1) * (mean - 2) / (n - 1))
    assert columns("runs")["runs_z_1h_64"][row] == pytest.approx((runs - mean) / deviation)


def test_the_current_run_by_hand() -> None:
    usual = [1e-4, -1e-4] * 60
    made = bars_from(np.array([*usual, 2e-4, 1e-4, 3e-4, 0.0, -1e-4, -2e-4]))
    found = columns("current_run", made)
    np.testing.assert_allclose(found["run_length_1h"][-6:], np.array([1, 2, 3, 0, -1, -2]) / 12)
    np.testing.assert_allclose(found["run_move_1h_96"][-6:], [2, 3, 6, 0, -1, -3], atol=1e-8)
    long = bars_from(np.array([*usual, *([1e-4] * 30)]))
    assert columns("current_run", long)["run_length_1h"][-1] == 1.0
    shares = columns("up_share", made, windows=(6,))["up_share_1h_6"]
    assert shares[-1] == pytest.approx(3.5 / 6)


def test_a_market_that_stands_still_has_neutral_values() -> None:
    still = bars_from(np.zeros(699))
    neutral = {"hurst": 0.5, "hurst_scaling": 0.5, "fractal_dim": 1.5, "energy_entropy": 1.0, "up_share": 0.5}
    for indicator in OURS:
        for name, values in indicator.compute(still, indicator.resolved({})).items():
            assert values[-1] == pytest.approx(neutral.get(name.split("_1h")[0], 0.0), abs=1e-12), name


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
def test_values_depend_on_their_window_alone_and_are_defined_after_the_warm_up(indicator) -> None:  # type: ignore[no-untyped-def]
    parameters = indicator.resolved({})
    whole, later = indicator.compute(BARS, parameters), indicator.compute(BARS.part(slice(200, None)), parameters)
    warm = indicator.warm_up(parameters)
    undefined = np.zeros(len(BARS), dtype=bool)
    for name, values in later.items():
        np.testing.assert_allclose(values[warm:], whole[name][200 + warm :], rtol=0, atol=1e-9, err_msg=name)
        undefined |= np.isnan(whole[name])
    np.testing.assert_array_equal(undefined, np.arange(len(BARS)) < warm)


def test_extreme_markets_stay_finite() -> None:
    jump = np.zeros(700)
    jump[300], jump[301] = 0.5, -0.5
    for made in (
        bars_from(jump),
        bars_from(np.full(700, 1e-3)),
        bars_from(np.random.default_rng(0).normal(0, 0.05, 700)),
    ):
        for indicator in OURS:
            for name, values in indicator.compute(made, indicator.resolved({})).items():
                assert np.isfinite(values[160:]).all(), name


def test_candles_without_volume_have_all_statistics() -> None:
    silent = Candles.from_frame(CANDLES.to_frame().assign(volume=np.nan), "EURUSD", "1h", "mid")
    for indicator in OURS:
        for name, values in indicator.compute(Bars.of(silent), indicator.resolved({})).items():
            assert np.isfinite(values[300:]).all(), name
