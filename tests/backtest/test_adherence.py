"""Adherence on literal tables of orders and fills, with the exact figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fxgpt_core.backtest.adapter import run_backtest
from fxgpt_core.backtest.adherence import Expected, aggregate, figures, judge
from fxgpt_core.backtest.adherence_config import AdherenceConfig
from fxgpt_core.backtest.adherence_rules import breaches, decide_adherence
from fxgpt_core.backtest.limits import PortfolioLimits
from fxgpt_core.backtest.orders import Fill, Order
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.instrument_config import shipped_instruments
from fxgpt_core.market.instruments import instrument
from tests.backtest.cases import candles_of, config, costs, forecast_with, random_case

PLANNED = {"EURUSD": Expected(half_spread=0.00005, slippage=0.00001, commission=30e-6)}
NAN = float("nan")
AT = np.datetime64("2024-02-01", "ns")


def order(number: int, position: int, when: str, **given: Any) -> Order:
    base: dict[str, Any] = {
        "order": number, "position": position, "symbol": "EURUSD", "decided_at": pd.Timestamp(when, tz="UTC"),
        "purpose": "entry", "kind": "market", "direction": 1, "units": 10_000.0, "signal_price": 1.1, "stop": NAN,
        "target": NAN, "reason": "signal", "wanted": 10_000.0,
    }  # fmt: skip
    return Order(**{**base, **given})


def fill(number: int, when: str, mid: float, price: float, units: float = 10_000.0, **paid: float) -> Fill:
    given = {"spread": 0.5, "slippage": 0.1, "commission": 0.33, "rate": 1.0, **paid}
    return Fill(order=number, filled_at=pd.Timestamp(when, tz="UTC"), units=units, mid=mid, price=price, **given)


def tables(orders: list[Order], fills: list[Fill]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.DataFrame([vars(one) for one in orders]), pd.DataFrame([vars(one) for one in fills])


def day() -> pd.DataFrame:
    """One position bought in two parts and stopped a pip too low, one order rejected, one withheld, one half filled."""
    return judge(
        *tables(
            [
                order(0, 0, "2024-01-09 10:00", stop=1.099),
                order(1, 0, "2024-01-09 10:00", purpose="exit", kind="stop", direction=-1, signal_price=1.099),
                order(2, 1, "2024-01-09 20:00", direction=-1),
                order(3, 2, "2024-01-09 23:00", status="withheld", limited_by="currency EUR"),
                order(4, 3, "2024-01-16 09:00", wanted=20_000.0, limited_by="gross"),
            ],
            [
                fill(0, "2024-01-09 10:01", 1.1001, 1.1002, 6_000.0, spread=0.3, slippage=0.3, commission=0.2),
                fill(0, "2024-01-09 10:02", 1.1003, 1.1004, 4_000.0, spread=0.2, slippage=0.2, commission=0.13),
                fill(1, "2024-01-09 12:30", 1.0991, 1.0989, spread=0.5, slippage=1.5, commission=0.33),
                fill(4, "2024-01-16 09:00", 1.1, 1.1, 5_000.0, spread=0.0, slippage=0.0, commission=0.0),
            ],
        ),
        PLANNED,
    )


def test_each_order_says_what_became_of_it() -> None:
    judged = day()
    assert judged["outcome"].tolist() == ["filled", "filled", "rejected", "withheld", "partial"]
    assert judged["filled"].tolist() == [10_000, 10_000, 0, 0, 5_000]
    assert judged["at"].iloc[2] == pd.Timestamp("2024-01-09 20:00", tz="UTC")
    bought, sold = judged.iloc[0], judged.iloc[1]
    assert bought["price"] == pytest.approx((6 * 1.1002 + 4 * 1.1004) / 10)
    assert bought["slippage"] == pytest.approx(0.00028 / 1.1)  # 2.8 pips above the price that was seen,
    assert bought["moved"] == pytest.approx(0.00018 / 1.1)  # 1.8 of them because the market had moved
    assert sold["slippage"] == pytest.approx(0.0001 / 1.099)  # sold a pip below the stop
    assert (bought["cost"], sold["cost"]) == (pytest.approx(1.33), pytest.approx(2.33))
    assert bought["expected_cost"] == pytest.approx(10_000 * (0.00005 + 0.00001 + 1.10018 * 30e-6))
    assert sold["accurate"] is True
    assert (
        judge(*tables([order(0, 0, "2024-01-09")], [fill(0, "2024-01-09", 1.1, 1.1)]), PLANNED)["accurate"][0] is None
    )


def test_a_position_is_compared_with_what_it_was_to_earn() -> None:
    exit_row = day().iloc[1]
    assert exit_row["pnl"] == pytest.approx(10_000 * (1.0991 - 1.10018) - 1.33 - 2.33)  # -10.80 - 3.66
    planned = 2 * 10_000 * 0.00006 + 10_000 * (1.10018 + 1.0991) * 30e-6
    assert exit_row["expected_pnl"] == pytest.approx(10_000 * (1.099 - 1.1) - planned)


def test_each_exit_bears_its_share_of_the_entry() -> None:
    """1000 bought at 1.1 for 2.0, sold in halves at 1.11 for 1.0 each: 5.0 - 1.0 - 1.0 of each half."""
    leave: dict[str, Any] = {"purpose": "exit", "direction": -1, "units": 500.0, "signal_price": 1.11}
    paid = {"slippage": 0.0, "commission": 0.0}
    judged = judge(
        *tables(
            [order(0, 0, "2024-01-09", units=1000.0), order(1, 0, "2024-01-09", **leave),
             order(2, 0, "2024-01-09", **leave)],
            [fill(0, "2024-01-09", 1.1, 1.1, 1000.0, spread=2.0, **paid),
             fill(1, "2024-01-09 01:00", 1.11, 1.11, 500.0, spread=1.0, **paid),
             fill(2, "2024-01-09 02:00", 1.11, 1.11, 500.0, spread=1.0, **paid)],
        ),
        {"EURUSD": Expected(0.0001, 0.0, 0.0)},
    )  # fmt: skip
    assert judged["pnl"].tolist()[1:] == [pytest.approx(3.0), pytest.approx(3.0)]
    assert figures(judged)["pnl"] == pytest.approx(6.0)
    assert figures(judged)["expected_pnl"] == pytest.approx(10.0 - 0.1 - 0.1)


def pyramid(first_half_sold: bool) -> pd.DataFrame:
    """1000 bought at 1.10 and 3000 at 1.12, half of it sold or not, and another position of 1000 bought after that."""
    orders = [
        order(0, 0, "2024-01-09", units=1000.0, signal_price=1.1),
        order(1, 0, "2024-01-09", units=3000.0, signal_price=1.12),
        order(2, 0, "2024-01-09", purpose="exit", kind="stop", direction=-1, units=2000.0, signal_price=1.125),
        order(3, 1, "2024-01-09 03:00", units=1000.0),
    ]
    fills = [
        fill(0, "2024-01-09", 1.1, 1.1, 1000.0),
        fill(1, "2024-01-09 01:00", 1.12, 1.12, 3000.0),
        fill(2, "2024-01-09 02:00", 1.125, 1.125, 2000.0),
        fill(3, "2024-01-09 03:00", 1.1, 1.1, 1000.0),
    ]
    if not first_half_sold:
        orders, fills = [orders[n] for n in (0, 1, 3)], [fills[n] for n in (0, 1, 3)]
    return judge(*tables(orders, fills), PLANNED, {"EURUSD": candles_of([[1.1] * 4] * 6)})


def test_two_entries_of_a_position_are_averaged() -> None:
    sold = pyramid(first_half_sold=True).iloc[2]
    assert sold["pnl"] == pytest.approx(2000 * (1.125 - 1.115) - 0.93 - 2 * 0.93 / 2)


@pytest.mark.parametrize(("first_half_sold", "most"), [(True, 3000), (False, 5000)])
def test_limits_count_what_is_still_held_of_a_position(first_half_sold: bool, most: int) -> None:
    """Of two entries of one position half was sold: the next entry finds that half, and one position."""
    bars = candles_of([[1.1] * 4] * 6)
    pairs = {"EURUSD": instrument("EURUSD", shipped_instruments())}
    limits = PortfolioLimits(gross=0.0001, net=None, currency=None, positions=1)
    found = breaches(pyramid(first_half_sold), limits, {"EURUSD": bars}, pairs, bars.known_at, np.full(6, 1e4),
                     "USD", 0.02)  # fmt: skip
    last = [one for one in found if one.at == pd.Timestamp("2024-01-09 03:00", tz="UTC")]
    assert [(one.limit, one.value) for one in last] == [
        ("gross exposure", pytest.approx(most * 1.1 / 1e4)), ("the number of positions", 2.0),
    ]  # fmt: skip
    assert not [one for one in found if one.limit == "the number of positions" and one not in last]


def test_figures_of_all_orders() -> None:
    found = figures(day())
    counts = ("orders", "filled", "partial", "rejected", "withheld", "cancelled", "limited", "stops", "targets")
    assert [found[name] for name in counts] == [5, 2, 1, 1, 1, 0, 2, 1, 0]
    assert found["rejection_rate"] == 0.25
    assert found["fill_ratio"] == 25_000 / 40_000
    assert found["slippage_mean"] == pytest.approx((0.00028 / 1.1 + 0.0001 / 1.099 + 0) / 3)
    assert found["slippage_median"] == pytest.approx(0.0001 / 1.099)
    assert found["slippage_worst"] == pytest.approx(0.00028 / 1.1)
    assert found["cost"] == pytest.approx(3.66)
    planned = 25_000 * 0.00006 + 30e-6 * (10_000 * (1.10018 + 1.0991) + 5_000 * 1.1)
    assert found["cost_drift"] == pytest.approx(3.66 / planned - 1)
    assert (found["stop_accuracy"], found["target_accuracy"], found["impact"]) == (1.0, None, None)


def test_days_end_at_five_in_new_york_and_weeks_begin_on_monday() -> None:
    """23:00 UTC in January is 18:00 in New York: the order of that hour belongs to the next trading day."""
    days, weeks, months = (aggregate(day(), period) for period in ("day", "week", "month"))  # type: ignore[arg-type]
    assert days["orders"].to_dict() == {
        pd.Timestamp("2024-01-09"): 3, pd.Timestamp("2024-01-10"): 1, pd.Timestamp("2024-01-16"): 1,
    }  # fmt: skip
    assert weeks["orders"].to_dict() == {pd.Timestamp("2024-01-08"): 4, pd.Timestamp("2024-01-15"): 1}
    assert months["orders"].to_dict() == {pd.Timestamp("2024-01-01"): 5}
    assert weeks["rejection_rate"].tolist() == [pytest.approx(1 / 3), 0.0]
    assert aggregate(day())["orders"].tolist() == [5]


@pytest.mark.parametrize(
    ("low", "later_high", "false"),
    [
        (1.0991, 1.1001, True),  # the bid was at 1.0990, the mid never, and the price came back
        (1.0991, 1.0998, False),  # it never came back to 1.1000
        (1.0989, 1.1001, False),  # the mid was there as well
    ],
)
@pytest.mark.parametrize("side", [1, -1])
def test_a_stop_is_false_where_only_the_spread_touched_it_and_the_price_came_back(
    low: float, later_high: float, false: bool, side: int
) -> None:
    table = np.array([[1.1, 1.1, 1.0995, 1.0995], [1.0995, 1.0996, low, 1.0995], [1.0995, later_high, 1.0994, 1.0996]])
    level, entry = 1.099, 1.1
    if side < 0:  # the same, seen in the mirror of 1.1
        table, level = (2.2 - table)[:, [0, 2, 1, 3]], 1.101
    bars = candles_of(table)
    judged = judge(
        *tables(
            [
                order(0, 0, "2024-01-09", direction=side, signal_price=entry),
                order(1, 0, "2024-01-09", purpose="exit", kind="stop", direction=-side, signal_price=level),
            ],
            [fill(0, "2024-01-09", entry, entry), fill(1, "2024-01-09 01:00", level, level)],
        ),
        PLANNED,
        {"EURUSD": bars},
        back_bars=1,
    )
    assert judged["false_stop"].tolist() == [None, false]
    assert figures(judged)["false_stops"] == float(false)


def test_targets_that_were_filled_elsewhere_are_not_accurate() -> None:
    judged = judge(
        *tables(
            [
                order(0, 0, "2024-01-09"),
                order(1, 0, "2024-01-09", purpose="exit", kind="target", direction=-1, signal_price=1.102),
            ],
            [fill(0, "2024-01-09", 1.1, 1.1), fill(1, "2024-01-09 01:00", 1.103, 1.103)],
        ),
        PLANNED,
    )
    assert judged["accurate"].tolist() == [None, False]
    assert figures(judged)["target_accuracy"] == 0
    assert judged["slippage"][1] == pytest.approx(-0.001 / 1.102)  # to our favour


def test_impact_is_seen_where_larger_fills_get_worse_prices() -> None:
    count = 40
    orders = [order(n, n, "2024-01-09", units=1000.0 * (n + 1)) for n in range(count)]
    worse = [fill(n, "2024-01-09", 1.1, 1.1 + 1e-6 * n, 1000.0 * (n + 1)) for n in range(count)]
    alike = [fill(n, "2024-01-09", 1.1, 1.1001, 1000.0 * (n + 1)) for n in range(count)]
    assert figures(judge(*tables(orders, worse), PLANNED))["impact"] == pytest.approx(1.0)
    assert figures(judge(*tables(orders, alike), PLANNED))["impact"] is None
    assert figures(judge(*tables(orders[:20], worse[:20]), PLANNED))["impact"] is None


def figured(**given: float) -> dict[str, float | None]:
    base = {"filled": 100.0, "partial": 0.0, "rejected": 0.0, "slippage_mean": 0.0001, "rejection_rate": 0.0}
    return {**base, "cost_drift": 0.0, **given}


@pytest.mark.parametrize(
    ("given", "what", "factor", "words"),
    [
        ({}, "trade", 1.0, "100 orders are within what was expected."),
        ({"slippage_mean": 0.0011}, "trade", 1.0, "0.11% worse than the signal price on average, above 0.10%"),
        ({"rejection_rate": 0.06}, "trade", 1.0, "6.0% of the orders were rejected, above 5.0%"),
        ({"cost_drift": 0.2}, "halve", 0.5, "Costs are +20% against what was expected, beyond 10%: orders are halved"),
        ({"cost_drift": -0.99}, "trade", 1.0, "Costs are -99% against what was expected, beyond 10%: what is expected"),
        ({"cost_drift": 0.2, "filled": 19.0}, "trade", 1.0, "19 orders were sent; figures count from 20 on"),
    ],
)
def test_figures_decide_what_to_do(given: dict[str, float], what: str, factor: float, words: str) -> None:
    decision = decide_adherence("EURUSD", figured(**given), [], AdherenceConfig(), AT)
    assert (decision.what, decision.evidence["size_factor"]) == (what, factor)
    assert any(words in reason for reason in decision.reasons)
    assert bool(decision.evidence["alerts"]) == (bool(given) and "filled" not in given)


def test_a_breached_limit_stops_trading_however_few_orders_there_were() -> None:
    """Three longs of 10 000 EUR at 1.1 on 10 000 USD: 3.3 times equity; the third goes beyond 2.5."""
    orders = [order(n, n, f"2024-01-09 0{n + 1}:00") for n in range(3)]
    fills = [fill(n, f"2024-01-09 0{n + 1}:00", 1.1, 1.1) for n in range(3)]
    bars = candles_of([[1.1] * 4] * 6)
    pairs = {"EURUSD": instrument("EURUSD", shipped_instruments())}
    judged = judge(*tables(orders, fills), PLANNED)
    limits = PortfolioLimits(gross=2.5, net=None, currency=None, positions=None)
    found = breaches(judged, limits, {"EURUSD": bars}, pairs, bars.known_at, np.full(6, 10_000.0), "USD", 0.02)
    assert [(one.limit, round(one.value, 9), one.allowed) for one in found] == [("gross exposure", 3.3, 2.5)]
    decision = decide_adherence("EURUSD", figures(judged), found, AdherenceConfig(), AT)
    assert (decision.what, decision.evidence["size_factor"]) == ("stop", 0.0)
    assert decision.reasons[0] == "gross exposure was 3.30 at 2024-01-09 03:00 UTC; 2.50 is allowed. Trading stops."
    rest = PortfolioLimits(gross=None, net=None, currency=3.0, positions=2)
    again = breaches(judged, rest, {"EURUSD": bars}, pairs, bars.known_at, np.full(6, 10_000.0), "USD", 0.02)
    assert [one.limit for one in again] == ["EUR exposure", "USD exposure", "the number of positions"]
    assert not breaches(judged, PortfolioLimits(net=None, currency=None), {"EURUSD": bars}, pairs, bars.known_at,
                        np.full(6, 10_000.0), "USD", 0.02)  # fmt: skip


@pytest.mark.parametrize(("second", "blamed"), [("AUDNZD", []), ("EURUSD", ["EUR exposure", "USD exposure"])])
def test_an_entry_is_blamed_for_what_it_added_to_only(second: str, blamed: list[str]) -> None:
    """Half of equity is lost: 11 000 USD of EUR are then more than allowed, and another pair has no part in that."""
    orders = [order(0, 0, "2024-01-09 01:00"), order(1, 1, "2024-01-09 03:00", symbol=second, units=1_000.0)]
    fills = [fill(0, "2024-01-09 01:00", 1.1, 1.1), fill(1, "2024-01-09 03:00", 1.1, 1.1, 1_000.0)]
    bars = {symbol: candles_of([[1.1] * 4] * 4, symbol) for symbol in ("EURUSD", "AUDNZD")}
    pairs = {symbol: instrument(symbol, shipped_instruments()) for symbol in bars}
    judged = judge(*tables(orders, fills), {symbol: PLANNED["EURUSD"] for symbol in bars})
    limits = PortfolioLimits(gross=None, net=None, currency=1.2, positions=None)
    equity = np.array([10_000.0, 10_000.0, 5_000.0, 5_000.0])
    found = breaches(judged, limits, bars, pairs, bars["EURUSD"].known_at, equity, "USD", 0.02)
    assert [one.limit for one in found] == blamed


def test_positions_are_worth_what_they_are_at_the_decision() -> None:
    """USDJPY holds dollars whatever its price; EURGBP is converted by the GBPUSD of the time, not of its entry."""
    orders = [
        order(0, 0, "2024-01-09 01:00", symbol="USDJPY"),
        order(1, 1, "2024-01-09 01:00", symbol="EURGBP"),
        order(2, 2, "2024-01-09 03:00", symbol="USDJPY", units=1_000.0),
    ]
    fills = [
        fill(0, "2024-01-09 01:00", 150.0, 150.0, rate=1 / 150),
        fill(1, "2024-01-09 01:00", 0.8, 0.8, rate=1.25),
        fill(2, "2024-01-09 03:00", 75.0, 75.0, 1_000.0, rate=1 / 75),
    ]
    prices = {"USDJPY": [150.0, 150, 75, 75], "EURGBP": [0.8] * 4, "GBPUSD": [1.25, 1.25, 2.5, 2.5]}
    bars = {symbol: candles_of([[price] * 4 for price in path], symbol) for symbol, path in prices.items()}
    pairs = {symbol: instrument(symbol, shipped_instruments()) for symbol in bars}
    planned = {symbol: PLANNED["EURUSD"] for symbol in bars}
    judged = judge(*tables(orders, fills), planned)
    limits = PortfolioLimits(gross=3.0, net=None, currency=None, positions=None)
    at = bars["USDJPY"].known_at
    (found,) = breaches(judged, limits, bars, pairs, at, np.full(4, 10_000.0), "USD", 0.0)
    assert found.value == pytest.approx(1.0 + 0.8 * 2.5 + 0.1)


def test_a_backtest_adheres_to_its_own_costs() -> None:
    """What the ledger charges is what was expected, so that drift is nothing but a fault of either."""
    candles, forecast = random_case(3)
    chosen = config(history_rows=10, stop_loss=1.0, take_profit=1.5, horizon="4h")
    charged = costs(spread_pips=1.0, slippage_pips=0.1, commission_per_million=30)
    result = run_backtest(candles, forecast, chosen, charged)
    judged = judge(result.orders, result.fills, PLANNED, {"EURUSD": candles})
    found = figures(judged)
    assert found["filled"] == len(result.fills) > 50
    assert found["cost_drift"] == pytest.approx(0, abs=1e-9)
    assert found["pnl"] == pytest.approx(result.trades["pnl"].sum())
    assert found["stops"] == (result.trades["reason"] == "stop").sum()


def test_tables_that_do_not_go_together_are_refused() -> None:
    orders, fills = tables([order(0, 0, "2024-01-09")], [fill(7, "2024-01-09", 1.1, 1.1)])
    with pytest.raises(BadInputError, match=r"1 fills \(first of order 7\) belong to no order"):
        judge(orders, fills, PLANNED)
    with pytest.raises(BadInputError, match=r"What EURUSD should cost is not given"):
        judge(orders, fills.iloc[:0], {})


def test_a_forecast_that_trades_nothing_has_nothing_to_judge() -> None:
    candles, _ = random_case(1)
    result = run_backtest(candles, forecast_with(np.full(300, 0.5), candles.known_at[:300]), config(), costs())
    judged = judge(result.orders, result.fills, PLANNED)
    assert figures(judged)["orders"] == 0
    assert figures(judged)["rejection_rate"] is None


def test_empty_tables_are_judged_as_they_are_read_back_from_disk() -> None:
    """Parquet keeps no type of a column without values, and times without a type have no time zone."""
    candles, _ = random_case(1)
    result = run_backtest(candles, forecast_with(np.full(300, 0.5), candles.known_at[:300]), config(), costs())
    orders, fills = (
        pa.Table.from_pandas(frame, preserve_index=False).to_pandas() for frame in (result.orders, result.fills)
    )
    bars, pairs = {"EURUSD": candles}, {"EURUSD": instrument("EURUSD", shipped_instruments())}
    judged = judge(orders, fills, PLANNED, bars)
    at, limits = candles.known_at, PortfolioLimits()
    assert breaches(judged, limits, bars, pairs, at, np.full(len(at), 1e4), "USD", 30.0) == []
    assert all(aggregate(judged, period).empty for period in ("day", "week", "month"))
