"""Adherence: whether what happened is what was meant, from tables of orders and fills (SPEC 11).

Pure: the tables may come from a backtest or from a broker. Rules on the figures are in `adherence_rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest.charges import Charges
from fxgpt_core.backtest.stop_triggers import averaged_entries, false_stops
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.candles import Candles

Period = Literal["day", "week", "month"]
_SENT = ("filled", "partial", "rejected")
_LEAST_FOR_IMPACT = 30
_WHOLE = 1 - 1e-9


@dataclass(frozen=True)
class Expected:
    """What a fill of a pair is expected to cost: `half_spread` and `slippage` in price units, `commission` as a share
    of the traded value; targets do not slip.
    """

    half_spread: float
    slippage: float
    commission: float

    @classmethod
    def of(cls, charges: Charges, commission_per_million: float) -> Expected:
        """Return the average of what a cost model charges over all bars."""
        return cls(float(charges.half.mean()), float(charges.slip.mean()), commission_per_million / 1e6)


def judge(
    orders: pd.DataFrame,
    fills: pd.DataFrame,
    expected: Mapping[str, Expected],
    candles: Mapping[str, Candles] | None = None,
    tolerance: float = 1e-4,
    back_bars: int = 24,
) -> pd.DataFrame:
    """Return one row per order (columns of `orders.Order`, then these), money in the account's currency:

    `at`: when it was filled, else decided (UTC); `outcome`: filled, partial, rejected (sent and never filled),
    withheld, cancelled or open; `filled`: units, all fills of an order together. `slippage`: fill against signal price
    or level, as a share of it, positive is worse for us; of which `moved` happened in the mid price before the fill.
    `cost`, `expected_cost`: spread, slippage and commission. `accurate`: whether a stop or target was filled within
    `tolerance` of its level. `false_stop`: only the spread touched the level, and the mid was back at the entry price
    within `back_bars` bars; None where that cannot be told, as without `candles` (mid, by symbol). `pnl`,
    `expected_pnl`: of what an exit closed, without swap: at mid less `cost`, at signal prices less `expected_cost`; of
    the entries' average price and costs each exit bears the share of the units that it closed.

    Raises BadInputError for a fill without order, or a pair without expectation.
    """
    _require(orders, fills, expected)
    out = orders.merge(_per_order(fills), on="order", how="left")
    filled = out["filled"].fillna(0.0)
    out["filled"] = filled
    out["outcome"] = np.select(
        [out["status"] != "sent", filled == 0, filled < out["units"] * _WHOLE],
        [out["status"], "rejected", "partial"],
        "filled",
    )
    out["at"] = out["filled_at"].fillna(out["decided_at"])
    out["slippage"] = out["direction"] * (out["price"] / out["signal_price"] - 1)
    out["moved"] = out["direction"] * (out["mid"] / out["signal_price"] - 1)
    half, slip, fee = (
        out["symbol"].map({symbol: getattr(value, name) for symbol, value in expected.items()})
        for name in ("half_spread", "slippage", "commission")
    )
    slip = slip.where(out["kind"] != "target", 0.0)
    out["expected_cost"] = filled * out["rate"] * (half + slip + out["mid"] * fee)
    rests = out["kind"].isin(["stop", "target"]) & (filled > 0)
    out["accurate"] = (out["slippage"].abs() <= tolerance).astype(object).where(rests, None)
    out["false_stop"] = false_stops(out, candles or {}, back_bars)
    return _with_positions(out)


def _require(orders: pd.DataFrame, fills: pd.DataFrame, expected: Mapping[str, Expected]) -> None:
    stray = set(fills["order"]) - set(orders["order"])
    if stray:
        raise BadInputError(
            f"{len(stray)} fills (first of order {min(stray)}) belong to no order: give both tables whole."
        )
    unknown = set(orders["symbol"]) - set(expected)
    if unknown:
        raise BadInputError(f"What {', '.join(sorted(unknown))} should cost is not given: pass an `Expected` for each.")


def _per_order(fills: pd.DataFrame) -> pd.DataFrame:
    """Return fills summed by order, prices and rates weighted by units."""
    weighted = fills.assign(**{name: fills[name] * fills["units"] for name in ("mid", "price", "rate")})
    weighted["cost"] = fills["spread"] + fills["slippage"] + fills["commission"]
    grouped = weighted.groupby("order", sort=False)
    out = grouped[["units", "mid", "price", "rate", "cost"]].sum()
    for name in ("mid", "price", "rate"):
        out[name] /= out["units"]
    out["filled_at"] = grouped["filled_at"].max()
    return out.rename(columns={"units": "filled"}).reset_index()


def _with_positions(out: pd.DataFrame) -> pd.DataFrame:
    """Add what each exit earned, and was to earn: its units against their share of the position's entries."""
    exits = out[(out["purpose"] == "exit") & (out["filled"] > 0)]
    entered = averaged_entries(out).reindex(exits["position"])
    units, rate, side = exits["filled"].to_numpy(), exits["rate"].to_numpy(), -exits["direction"].to_numpy()
    share = units / entered["filled"].to_numpy()
    for name, price, cost in (("pnl", "mid", "cost"), ("expected_pnl", "signal_price", "expected_cost")):
        moved = exits[price].to_numpy() - entered[price].to_numpy()
        paid = exits[cost].to_numpy() + entered[cost].to_numpy() * share
        out[name] = np.nan
        out.loc[exits.index, name] = side * units * moved * rate - paid
    return out


def aggregate(judged: pd.DataFrame, period: Period | None = None) -> pd.DataFrame:
    """Return the figures of `figures` per trading day (17:00 to 17:00 New York), week from Monday, or month: one row
    per period that has orders, indexed by its first day; all of them in one row without a period.
    """
    if period is None:
        labels: pd.Index[Any] | NDArray[Any] = np.zeros(len(judged), dtype=np.int64)
    else:
        local = pd.DatetimeIndex(judged["at"]).tz_convert("America/New_York").tz_localize(None)
        days = (local + pd.Timedelta(hours=7)).normalize()
        labels = {
            "day": days,
            "week": days - pd.to_timedelta(days.dayofweek, unit="D"),
            "month": days - pd.to_timedelta(days.day - 1, unit="D"),
        }[period]
    rows = {label: figures(part) for label, part in judged.groupby(labels)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(period)


def figures(judged: pd.DataFrame) -> dict[str, float | None]:
    """Return the figures of judged orders; None where there is nothing to judge.

    Counts by outcome; `rejection_rate` of what was sent, `fill_ratio` of what was meant; `slippage_*`: mean, median,
    95 % quantile and worst of fills at market and at stops; `cost`, `expected_cost`, and `cost_drift` = cost / expected
    - 1; `pnl`, `expected_pnl`; `stop_accuracy`, `target_accuracy`; `false_stops`; `impact`: rank correlation of a
    fill's size with its price's distance from mid (Spearman), None below 30 fills or where all are alike.
    """
    outcome = judged["outcome"].value_counts()
    counts = {name: float(outcome.get(name, 0)) for name in ("filled", "partial", "rejected", "withheld", "cancelled")}
    sent = judged[judged["outcome"].isin(_SENT)]
    done = sent[sent["filled"] > 0]
    slips = done.loc[done["kind"] != "target", "slippage"].to_numpy(dtype=np.float64)
    cost, planned = float(done["cost"].sum()), float(done["expected_cost"].sum())
    limited = judged["limited_by"] != ""

    def share(values: pd.Series[Any]) -> float | None:
        known = values.dropna()
        return float(known.astype(float).mean()) if len(known) else None

    return {
        "orders": float(len(judged)),
        **counts,
        "limited": float(limited.sum()),
        "rejection_rate": counts["rejected"] / len(sent) if len(sent) else None,
        "fill_ratio": float(sent["filled"].sum() / sent["units"].sum()) if len(sent) else None,
        "slippage_mean": float(slips.mean()) if len(slips) else None,
        "slippage_median": float(np.median(slips)) if len(slips) else None,
        "slippage_p95": float(np.quantile(slips, 0.95)) if len(slips) else None,
        "slippage_worst": float(slips.max()) if len(slips) else None,
        "cost": cost,
        "expected_cost": planned,
        "cost_drift": cost / planned - 1 if planned > 0 else None,
        "pnl": float(done["pnl"].sum()),
        "expected_pnl": float(done["expected_pnl"].sum()),
        "stops": float((done["kind"] == "stop").sum()),
        "stop_accuracy": share(done.loc[done["kind"] == "stop", "accurate"]),
        "false_stops": float(done["false_stop"].dropna().astype(float).sum()),
        "targets": float((done["kind"] == "target").sum()),
        "target_accuracy": share(done.loc[done["kind"] == "target", "accurate"]),
        "impact": _impact(done),
    }


def _impact(done: pd.DataFrame) -> float | None:
    """Return the rank correlation of size with what a fill at market or a stop lost to the mid price."""
    at_market = done[done["kind"] != "target"]
    lost = at_market["direction"] * (at_market["price"] / at_market["mid"] - 1)
    size = at_market["filled"] * at_market["mid"] * at_market["rate"]
    if len(size) < _LEAST_FOR_IMPACT or size.nunique() < 2 or lost.round(12).nunique() < 2:
        return None
    return float(size.rank().corr(lost.round(12).rank()))
