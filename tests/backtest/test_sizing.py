"""Every way to size a position, on one decision whose figures can be worked out by hand."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.sizing import wanted_fraction
from tests.backtest.cases import FREE, broker, candles_of, config, costs, forecast_with

MEAN = 0.0005
STD = 0.001


def units(
    price: float = 1.1, symbol: str = "EURUSD", cash: float = 100_000, entry: Any = None, **changes: Any
) -> float:
    """Size of the one trade: mean 0.05 %, standard deviation 0.1 %, decided at `price`; 0 where there is none."""
    from scipy.stats import norm

    candles = candles_of([[price] * 4] * 8, symbol)
    up = float(norm.cdf(MEAN / STD))
    forecast = forecast_with([0.6, up, 0.5], candles.known_at[:3], std=[0.002, STD, STD], symbol=symbol)
    at = broker(None, instruments={symbol: entry or {}})
    result = run_backtest(candles, forecast, config(initial_cash=cash, **changes), FREE, broker=at)
    return float(result.trades.units.sum())


def sized(method: str, **values: Any) -> dict[str, Any]:
    return {"sizing": {"method": method, **values}}


def test_fixed_and_percent_are_whole_steps_of_the_lot() -> None:
    assert units(**sized("fixed", lots=0.37)) == 37_000
    assert units(**sized("percent")) == 90_000  # 100 000 USD at 1.10 are 90 909 EUR
    assert units(**sized("percent"), size_fraction=2.5) == 227_000
    assert units(**sized("percent"), lot_units=1) == 90_909
    assert units(**sized("percent"), entry={"lot_step": 0.1}) == 90_000
    assert units(**sized("percent"), entry={"lot_step": 0.25}) == 75_000


def test_a_size_below_the_smallest_lot_is_no_trade() -> None:
    assert units(cash=1000) == 0
    assert units(cash=1101) == 1000
    assert units(cash=9000, entry={"min_lot": 0.1}) == 0


def test_dollars_are_bought_with_dollars_whatever_the_yen_costs() -> None:
    assert units(150.0, "USDJPY", **sized("percent")) == 100_000


def test_inverse_volatility_puts_the_same_share_at_one_standard_deviation() -> None:
    """1 % of 100 000 USD over 0.1 %: a notional value of a million USD."""
    assert units(**sized("inverse_volatility", risk=0.01)) == 909_000
    assert units(**sized("inverse_volatility", risk=0.002)) == 181_000


def test_fractional_kelly_is_mean_over_variance() -> None:
    """0.0005 / 0.001^2 = 500 times equity; a hundredth of it is 5 times."""
    assert units(**sized("kelly", kelly_fraction=0.01)) == 454_000


def test_risk_over_stop_distance_times_confidence_times_strength() -> None:
    """SPEC 11, first formula: 100 000 x 1 % / (1 - exp(-0.002)) x 0.69 x 0.5, the confidence read off the quantiles."""
    from scipy.stats import norm

    candles = candles_of([[1.1] * 4] * 8)
    forecast = forecast_with([float(norm.cdf(0.5))], candles.known_at[:1], std=STD)
    confidence = float(forecast.probability_up()[0, 0])
    notional = 100_000 * 0.01 / -np.expm1(-0.002) * confidence * 0.5
    assert confidence == pytest.approx(0.6915, abs=2e-3)
    assert units(**sized("risk", risk=0.01), stop_loss=2.0) == np.floor(notional / 1.1 / 1000) * 1000
    with pytest.raises(ValueError, match=r"set stop_loss"):
        BacktestConfig.model_validate(sized("risk"))


def test_a_mean_of_zero_is_sized_zero_without_a_warning() -> None:
    """Its stop lies somewhere although its direction does not: 0 / 0 would be no size but nan."""
    chosen, none = config(**sized("risk"), stop_loss=2.0), np.zeros(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        size = wanted_fraction(chosen, none, none, np.full(1, STD), np.full(1, 0.5), np.full(1, np.inf))
    assert size.tolist() == [0.0]


@pytest.mark.parametrize("side", [1, -1])
def test_a_mean_against_the_traded_side_is_no_edge(side: int) -> None:
    """P(up) is 0.55 and the mean is below zero, or both mirrored: `fixed` trades it, the rest has nothing to gain."""
    candles = candles_of([[1.1] * 4] * 8)
    leaning = forecast_with([0.51, 0.55 if side > 0 else 0.45, 0.5], candles.known_at[:3], std=STD)
    toward, against = (replace(leaning, mean=np.full_like(leaning.mean, sign * side * MEAN)) for sign in (1, -1))

    def sizes(forecast: Any, **changes: Any) -> list[float]:
        chosen = config(initial_cash=100_000, stop_loss=2.0, **changes)
        return [float(units) for units in run_backtest(candles, forecast, chosen, FREE, broker=broker()).trades.units]

    for asked in (sized("kelly", kelly_fraction=0.01), sized("risk")):
        assert len(sizes(toward, **asked)) == 1
        assert sizes(against, **asked) == []
    assert sizes(toward, **sized("fixed")) == sizes(against, **sized("fixed")) == [10_000]


def test_least_move_asks_for_a_mean_towards_the_traded_side() -> None:
    """A round trip of 2 pips at 1.10 is 0.018 %: a mean of 0.05 % is enough, one of -0.05 % under a purchase is not."""
    candles = candles_of([[1.1] * 4] * 8)
    leaning = forecast_with([0.51, 0.55, 0.5], candles.known_at[:3], std=STD)
    traded = [
        len(run_backtest(
            candles, replace(leaning, mean=np.full_like(leaning.mean, mean)),
            config(initial_cash=100_000, least_move=1.0), costs(spread_pips=2.0), broker=broker(),
        ).trades)
        for mean in (MEAN, -MEAN)
    ]  # fmt: skip
    assert traded == [1, 0]


def test_size_shrinks_with_uncertainty_over_its_own_earlier_quantile() -> None:
    """SPEC 11, second formula: the only earlier standard deviation is 0.2 %, this one 0.1 %: half of equity."""
    assert units(**sized("shrink"), lot_units=1) == pytest.approx(100_000 / 1.1 / 2, abs=1)


def test_caps_and_leverage_bound_every_method() -> None:
    assert units(**sized("inverse_volatility", risk=0.1)) == 2_454_000  # 90 % of leverage 30, not a hundredfold
    assert units(**sized("inverse_volatility", risk=0.1), leverage=10) == 818_000
    assert units(**sized("inverse_volatility", risk=0.1), leverage=10, margin_use=0.5) == 454_000
    assert units(**sized("inverse_volatility", risk=0.1, max_fraction=3.0)) == 272_000
    assert units(**sized("inverse_volatility", risk=0.1, max_lots=1.5)) == 150_000
    assert units(**sized("inverse_volatility", risk=0.1), entry={"max_lot": 5}) == 500_000
    with pytest.raises(ValueError, match=r"more than 90% of leverage 30"):
        BacktestConfig(size_fraction=28)
