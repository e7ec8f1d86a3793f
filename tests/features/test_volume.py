"""Volume, spread and what is usual for the time of week: against their formulas, planted weeks, and the past only."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.blocks import compute_block, compute_table, months
from fxgpt_core.features.indicators.seasonal import fit_usual, within_week
from fxgpt_core.features.registry import indicators
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.features.time_of_week import bar_of_week, bars_in_week, recent, usual
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-07T22:00", "ns"), bars=2400, seed=5)
BARS = Bars.of(CANDLES)
R, LOGS = BARS.log_return, np.log1p(CANDLES.volume)
PAST, LATER = BARS.part(slice(0, 1500)), BARS.part(slice(1500, None))
OURS = [i for i in indicators().values() if i.group == "volume"]
SEASONAL = [i for i in indicators().values() if i.group == "seasonal"]
QUOTED = ("relative_spread", "seasonal_spread", "spread_from_range")


def columns(name: str, bars: Bars = BARS, **parameters: object) -> dict[str, np.ndarray]:
    found = indicators()[name]
    return found.compute(bars, found.resolved(parameters))


def learned(name: str, past: Bars = PAST, bars: Bars = LATER) -> dict[str, np.ndarray]:
    found = indicators()[name]
    parameters = found.resolved({})
    return found.compute(bars, parameters, found.learn(past, parameters))


def last(values: np.ndarray, row: int, n: int) -> np.ndarray:
    return values[row - n + 1 : row + 1]


def test_volume_is_measured_by_what_was_traded_before() -> None:
    row, logs = 800, pd.Series(LOGS)
    assert columns("relative_volume")["vol_rel_1h_20"][row] == pytest.approx((logs - logs.rolling(20).mean())[row])
    level = logs.rolling(6).mean() - logs.rolling(36).mean()
    np.testing.assert_allclose(columns("volume_level")["volume_level_1h_6_36"][36:], level[36:], atol=1e-12)
    for n in (24, 96):
        expected = stats.pearsonr(np.arange(n), last(LOGS, row, n)).statistic
        assert columns("volume_trend")[f"volume_trend_1h_{n}"][row] == pytest.approx(expected)
    character = columns("volume_character")
    assert character["volume_spread_1h_96"][row] == pytest.approx(np.std(last(LOGS, row, 96)))
    expected = stats.pearsonr(last(LOGS, row, 96), last(LOGS, row - 1, 96)).statistic
    assert character["volume_acf_1h_96"][row] == pytest.approx(expected)


def test_volume_against_returns_follows_the_formulas() -> None:
    row = 900
    for n in (48, 192):
        found, logs, returns = columns("volume_correlation"), last(LOGS, row, n), last(R, row, n)
        assert found[f"volume_ret_corr_1h_{n}"][row] == pytest.approx(stats.pearsonr(logs, returns).statistic)
        assert found[f"volume_size_corr_1h_{n}"][row] == pytest.approx(stats.pearsonr(logs, np.abs(returns)).statistic)
    impact = np.abs(R) / (1 + CANDLES.volume)
    expected = math.log(last(impact, row, 12).mean() / last(impact, row, 72).mean())
    assert columns("illiquidity")["illiquidity_1h_12_72"][row] == pytest.approx(expected)
    volume, up = last(CANDLES.volume, row, 24), last(R, row, 24) > 0
    expected = volume[up].sum() / volume.sum() - up.mean()
    assert columns("volume_sides")["volume_up_1h_24"][row] == pytest.approx(expected)


def test_effort_and_result_follow_their_formulas() -> None:
    row, ranges, found = 700, np.log(np.log(CANDLES.high / CANDLES.low)), columns("effort_result")

    def z(values: np.ndarray, at: int) -> float:
        return float((values[at] - last(values, at, 48).mean()) / last(values, at, 48).std())

    efforts = [z(LOGS, t) - z(ranges, t) for t in range(row - 7, row + 1)]
    assert found["effort_1h_48"][row] == pytest.approx(efforts[-1])
    assert found["effort_mean_1h_8_48"][row] == pytest.approx(np.mean(efforts))
    high, low, close = CANDLES.high[row], CANDLES.low[row], CANDLES.close[row]
    assert found["effort_side_1h_48"][row] == pytest.approx(z(LOGS, row) * (2 * (close - low) / (high - low) - 1))
    expected = stats.pearsonr(last(LOGS, row, 48), last(ranges, row, 48)).statistic
    assert found["effort_corr_1h_48"][row] == pytest.approx(expected)


def test_spreads_are_measured_by_the_price_what_was_usual_and_ranges() -> None:
    row, logs, found = 600, np.log(CANDLES.spread / CANDLES.close + 1e-6), columns("relative_spread")
    for n in (6, 96):
        assert found[f"spread_rel_1h_{n}"][row] == pytest.approx(logs[row] - last(logs, row, n).mean())
    moved = last(np.log(CANDLES.high / CANDLES.low), row, 24).mean()
    assert found["spread_cost_1h_24"][row] == pytest.approx(logs[row] - math.log(moved))


def test_the_spread_of_highs_and_lows_follows_corwin_and_schultz() -> None:
    row, implied, high, low = 555, [], CANDLES.high, CANDLES.low
    for t in range(row - 47, row + 1):
        beta = math.log(high[t - 1] / low[t - 1]) ** 2 + math.log(high[t] / low[t]) ** 2
        gamma = math.log(max(high[t], high[t - 1]) / min(low[t], low[t - 1])) ** 2
        k = 3 - 2 * math.sqrt(2)
        alpha = (math.sqrt(2 * beta) - math.sqrt(beta)) / k - math.sqrt(gamma / k)
        implied.append(max(2 * (math.exp(alpha) - 1) / (1 + math.exp(alpha)), 0.0))
    expected = np.mean(implied) / np.mean(last(np.log(high / low), row, 48))
    assert columns("spread_from_range")["spread_range_1h_48"][row] == pytest.approx(expected)


def test_without_volume_or_spread_their_columns_are_missing_and_no_others() -> None:
    nothing = np.full(len(BARS), np.nan)
    silent, unquoted = replace(BARS, volume=nothing), replace(BARS, spread=nothing)
    for indicator in (*OURS, *SEASONAL):
        parameters, about_spread = indicator.resolved({}), indicator.name in QUOTED
        about_volume = indicator.group == "volume" or indicator.name == "seasonal_volume"
        for bars, missing in ((silent, about_volume and not about_spread), (unquoted, "spread" in indicator.name)):
            missing &= indicator.name != "spread_from_range"
            state = indicator.learn(bars, parameters)
            for name, values in indicator.compute(bars, parameters, state).items():
                assert np.isnan(values).all() == missing, (indicator.name, name)


def test_quiet_markets_and_single_missing_volumes_stay_finite_around_them() -> None:
    ones = np.ones(900)
    still = Bars.of(Candles("EURUSD", CANDLES.timeframe, "mid", CANDLES.ts_utc[:900], ones, ones, ones, ones, ones * 0, ones * 0))  # fmt: skip  # noqa: E501
    for indicator in (*OURS, *SEASONAL):
        parameters = indicator.resolved({})
        state = indicator.learn(still, parameters)
        for name, values in indicator.compute(still, parameters, state).items():
            assert not np.isinf(values).any(), name
            if state is not None or indicator.fit is None:
                assert values[-1] == pytest.approx(0.0, abs=1e-9) or name.startswith("spread_cost"), name
    holed = replace(BARS, volume=np.where(np.arange(len(BARS)) == 1000, np.nan, BARS.volume))
    for indicator in OURS:
        for name, values in indicator.compute(holed, indicator.resolved({})).items():
            assert np.isfinite(values[1400:]).all(), name


@pytest.mark.parametrize("indicator", [*OURS, *SEASONAL], ids=lambda i: i.name)
def test_neither_price_level_nor_the_future_changes_a_value(indicator) -> None:  # type: ignore[no-untyped-def]
    parameters = indicator.resolved({})
    state = indicator.learn(PAST, parameters)
    whole = indicator.compute(LATER, parameters, state)
    sides = ("open", "high", "low", "close", "spread")
    past, later = (replace(b, **{n: getattr(b, n) * 128.0 for n in sides}) for b in (PAST, LATER))
    for name, values in indicator.compute(later, parameters, indicator.learn(past, parameters)).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-6, atol=1e-7, err_msg=name)
    for name, values in indicator.compute(LATER.part(slice(0, 613)), parameters, state).items():
        np.testing.assert_array_equal(values, whole[name][:613], err_msg=name)


@pytest.mark.parametrize("indicator", [*OURS, *SEASONAL], ids=lambda i: i.name)
def test_values_depend_on_their_window_alone_and_are_defined_after_the_warm_up(indicator) -> None:  # type: ignore[no-untyped-def]
    parameters = indicator.resolved({})
    state, warm = indicator.learn(PAST, parameters), indicator.warm_up(parameters)
    whole = indicator.compute(LATER, parameters, state)
    undefined = np.zeros(len(LATER), dtype=bool)
    for name, values in indicator.compute(LATER.part(slice(150, None)), parameters, state).items():
        away = np.abs(values[warm:] - whole[name][150 + warm :]).max()
        assert away <= 1e-9 * max(np.nanstd(whole[name]), 1e-9) + 1e-9, name
        undefined |= np.isnan(whole[name])
    np.testing.assert_array_equal(undefined, np.arange(len(LATER)) < warm)


def test_bars_are_numbered_by_new_york_trading_time() -> None:
    assert bar_of_week(BARS)[0] == 0  # Sunday 17:00
    monday = int(np.flatnonzero(CANDLES.ts_utc == np.datetime64("2024-01-08T22:00"))[0])
    summer = int(np.flatnonzero(CANDLES.ts_utc == np.datetime64("2024-04-08T21:00"))[0])
    assert bar_of_week(BARS)[monday] == bar_of_week(BARS)[summer] == 24
    assert bars_in_week(60) == 120
    for code in ("1m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "1w"):
        some = Bars.of(simulate("EURUSD", code, start=np.datetime64("2024-01-07T22:00", "ns"), bars=200, seed=1))
        found = usual(some.log_range, some)
        assert found is not None
        assert len(found) == bars_in_week(some.timeframe.minutes) > bar_of_week(some).max()


def test_a_profile_is_the_mean_of_a_bucket_shrunk_to_its_hour_and_that_to_all() -> None:
    values, place = np.arange(len(PAST), dtype=float) % 37, bar_of_week(PAST)
    found = usual(values, PAST)
    assert found is not None
    hour = values[place % 24 == 7]
    daily = (hour.sum() + 4 * values.mean()) / (len(hour) + 4)
    for bar in (7, 7 + 48):
        mine = values[place == bar]
        assert found[bar] == pytest.approx((mine.sum() + 4 * daily) / (len(mine) + 4))


def test_too_short_a_past_teaches_nothing() -> None:
    assert recent(PAST.part(slice(0, 0)), 26) is None
    assert recent(PAST.part(slice(0, 239)), 26) is None
    assert recent(PAST.part(slice(0, 240)), 26) is not None
    kept = recent(PAST.part(slice(0, 900)), 4)
    assert kept is not None
    assert len(kept) == 480
    for indicator in SEASONAL:
        for name, values in indicator.compute(LATER, indicator.resolved({}), None).items():
            assert np.isnan(values).all(), name


def test_a_planted_week_of_volatility_is_learned_and_taken_out() -> None:
    loud = np.where(bar_of_week(BARS) % 24 == 9, 5.0, 1.0)
    noise = np.random.default_rng(0).normal(0, 1e-3, len(BARS)) * loud
    close = np.exp(np.cumsum(noise))
    opens = np.r_[1.0, close[:-1]]
    reach = 1e-3 * loud
    high, low = np.maximum(opens, close) * np.exp(reach), np.minimum(opens, close) / np.exp(reach)
    planted = replace(BARS, open=opens, close=close, high=high, low=low)
    past, later = planted.part(slice(0, 1500)), planted.part(slice(1500, None))
    state = fit_usual(past, 26)
    assert state is not None
    ratio = state.volatility[9] / np.median(state.volatility)
    assert 3.0 < ratio < 5.5
    found, ahead = learned("seasonal_volatility", past, later), learned("season", past, later)
    hour = bar_of_week(later) % 24
    plain = np.log(later.log_range)
    lift = plain[hour == 9].mean() - plain[hour != 9].mean()
    left = found["adj_range_1h_1"][hour == 9].mean() - found["adj_range_1h_1"][hour != 9].mean()
    assert lift > 1.4
    assert abs(left) < 0.35
    assert ahead["season_next_1h_1"][hour == 8].mean() > 1.0
    assert ahead["season_next_1h_1"][hour == 9].mean() < -1.0


def test_adjusted_volatilities_follow_their_formulas() -> None:
    state = fit_usual(PAST, 26)
    assert state is not None
    row, expected = 700, state.volatility[bar_of_week(LATER)]
    ranges = LATER.log_range / expected
    z = within_week(LATER) / expected
    found = learned("seasonal_volatility")
    assert found["adj_har_ret_1h_48"][row] == pytest.approx(0.5 * math.log(np.mean(last(z, row, 48) ** 2)))
    for n in (12, 48, 192):
        variance = np.mean(last(ranges, row, n) ** 2) / (4 * math.log(2))
        assert found[f"adj_har_range_1h_{n}"][row] == pytest.approx(0.5 * math.log(variance))
    shape, r = learned("seasonal_shape"), np.abs(last(z, row, 96))
    bipower = math.pi / 2 * 96 / 95 * (r[1:] * r[:-1]).sum()
    assert shape["adj_jump_1h_96"][row] == pytest.approx(1 - bipower / (r**2).sum())
    signed = last(z, row, 96)
    assert shape["adj_up_1h_96"][row] == pytest.approx((signed[signed > 0] ** 2).sum() / (signed**2).sum())


def test_what_the_clock_says_follows_from_the_profile() -> None:
    state = fit_usual(PAST, 26)
    assert state is not None
    place, variance = bar_of_week(LATER), state.volatility**2
    found = learned("season")
    for row in (10, 119, 240, 500):
        at = place[row]
        coming = np.mean([variance[(at + k) % 120] for k in range(1, 9)])
        gone = np.mean([variance[(at - k) % 120] for k in range(8)])
        assert found["season_next_1h_8"][row] == pytest.approx(0.5 * math.log(coming / gone))
        assert found["season_vol_1h"][row] == pytest.approx(0.5 * math.log(variance[at] / variance.mean()))
    moves = within_week(PAST) / state.volatility[bar_of_week(PAST)]
    same = moves[bar_of_week(PAST) == 31]
    row = int(np.flatnonzero(place == 30)[3])
    assert found["season_drift_1h"][row] == pytest.approx(same.sum() / np.sqrt((same**2).sum()))


def test_volume_and_spread_are_measured_by_their_time_of_week() -> None:
    row, profile = 400, usual(np.log1p(PAST.volume), PAST)
    assert profile is not None
    away = np.log1p(LATER.volume) - profile[bar_of_week(LATER)]
    for n in (1, 12, 48):
        assert learned("seasonal_volume")[f"volume_season_1h_{n}"][row] == pytest.approx(last(away, row, n).mean())
    profile = usual(np.log(PAST.spread / PAST.close + 1e-6), PAST)
    assert profile is not None
    away = np.log(LATER.spread / LATER.close + 1e-6) - profile[bar_of_week(LATER)]
    assert learned("seasonal_spread")["spread_season_1h_24"][row] == pytest.approx(last(away, row, 24).mean())


def test_a_month_knows_the_months_before_it_and_nothing_of_its_own_profile() -> None:
    spec = FeatureSpec(groups=("seasonal",))
    whole = compute_table(CANDLES, spec)
    month, rows = list(months(CANDLES))[-2]
    np.testing.assert_array_equal(compute_block(CANDLES, month, spec).values, whole.values[rows])
    middle = rows.start + 100
    cut = compute_table(CANDLES.take(slice(0, middle)), spec)
    np.testing.assert_array_equal(cut.values, whole.values[:middle])
    frame = CANDLES.to_frame()
    frame.loc[frame.index[rows.start - 800 : rows.start - 600], "volume"] *= 3  # a part of the past that no window sees
    changed = compute_table(Candles.from_frame(frame, "EURUSD", "1h", "mid"), spec)
    names = list(whole.names)
    at = names.index("volume_season_1h_1")
    assert np.abs(changed.values[rows, at] - whole.values[rows, at]).max() > 0.01
    np.testing.assert_array_equal(changed.values[: rows.start - 800], whole.values[: rows.start - 800])


def test_weekly_bars_have_no_time_of_week() -> None:
    weekly = Bars.of(simulate("EURUSD", "1w", start=np.datetime64("2020-01-05T22:00", "ns"), bars=120, seed=1))
    assert learned("season", weekly.part(slice(0, 80)), weekly.part(slice(80, None))) == {}
