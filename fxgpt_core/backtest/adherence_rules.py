"""What follows from adherence: go on, trade half as large, or stop; and which limits were breached (SPEC 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest.adherence_config import AdherenceConfig
from fxgpt_core.backtest.limits import PortfolioLimits
from fxgpt_core.backtest.table_times import array_times
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.instruments import Instrument
from fxgpt_core.policy.decision import Decision

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
_COUNT = "the number of positions"
_WHOLE = 1 - 1e-9
_NEVER = pd.Timestamp("2200-01-01", tz="UTC")


@dataclass(frozen=True)
class Breach:
    """A limit that was exceeded when an entry was filled; `value`, `allowed`: multiples of equity, or positions."""

    at: pd.Timestamp
    limit: str
    value: float
    allowed: float

    @property
    def sentence(self) -> str:
        """What happened, for a person."""
        return f"{self.limit} was {self.value:.2f} at {self.at:%Y-%m-%d %H:%M} UTC; {self.allowed:.2f} is allowed."


def decide_adherence(
    symbol: str, figures: Mapping[str, float | None], breaches: Sequence[Breach], config: AdherenceConfig,
    at: np.datetime64,
) -> Decision:  # fmt: skip
    """Return what to do: `trade`, `halve` (cost above expectation) or `stop` (a limit was breached), with reasons.

    `figures`: of `adherence.figures`. Evidence holds `size_factor` (1, 0.5, 0), the figures and the `alerts`: sentences
    about slippage, rejections, costs above or below expectation, and breaches. Figures of fewer than `least_orders`
    orders decide nothing; a breach always does.
    """
    sent = sum(figures[name] or 0.0 for name in ("filled", "partial", "rejected"))
    alerts = [f"{breach.sentence} Trading stops." for breach in breaches]
    costly = False
    if sent >= config.least_orders:
        slipped, refused, drift = (figures[name] for name in ("slippage_mean", "rejection_rate", "cost_drift"))
        if slipped is not None and slipped > config.slippage:
            alerts.append(
                f"Fills are {slipped:.2%} worse than the signal price on average, above {config.slippage:.2%}."
            )
        if refused is not None and refused > config.rejections:
            alerts.append(f"{refused:.1%} of the orders were rejected, above {config.rejections:.1%}.")
        costly = drift is not None and drift > config.cost_tolerance
        if drift is not None and abs(drift) > config.cost_tolerance:
            follows = "orders are halved." if costly else "what is expected is wrong, or something was not charged."
            alerts.append(
                f"Costs are {drift:+.0%} against what was expected, beyond {config.cost_tolerance:.0%}: {follows}"
            )
    what, factor = ("stop", 0.0) if breaches else ("halve", 0.5) if costly else ("trade", 1.0)
    few = f"{sent:.0f} orders were sent; figures count from {config.least_orders} on."
    reasons = tuple(alerts) or (
        few if sent < config.least_orders else f"{sent:.0f} orders are within what was expected.",
    )
    evidence = {"size_factor": factor, "alerts": alerts, "figures": dict(figures), "breaches": len(breaches)}
    return Decision(symbol, what, reasons, at, "adherence", evidence)


def breaches(
    judged: pd.DataFrame,
    limits: PortfolioLimits,
    candles: Mapping[str, Candles],
    pairs: Mapping[str, Instrument],
    known_at: Times,
    equity: Floats,
    account: str,
    tolerance: float,
) -> list[Breach]:
    """Return every limit that filled entries exceeded, judged by equity and prices at their decision.

    An entry is blamed for what it added to: prices may carry what is held beyond a limit. `judged`: of
    `adherence.judge`; `candles`: mid bars by symbol; `known_at`, `equity`: (bars,) the account, in currency `account`,
    at closes. A pair that neither begins nor ends with that currency is converted by the candles that do, or at the
    rate of its own last entry. A position is held less what its exits closed. Exits at market come before entries of
    the same time, stops and targets after them: a backtest stamps these with the open of their bar. Correlation is left
    to whoever places orders.
    """
    done = judged[judged["filled"] > 0]
    closed = _closed(done)
    entries = done[done["purpose"] == "entry"].sort_values("filled_at", kind="stable")
    begins, decided = (array_times(entries[name]) for name in ("filled_at", "decided_at"))
    positions = entries["position"].to_numpy()
    ends = array_times(entries["position"].map({name: until for name, (until, _, _) in closed.items()}).fillna(_NEVER))
    symbols = entries["symbol"].to_numpy()
    signed = (entries["direction"] * entries["filled"]).to_numpy(dtype=np.float64)
    worth = {}
    for name in set(symbols):
        mine = symbols == name
        rate = _as_of(begins[mine], entries["rate"].to_numpy(dtype=np.float64)[mine], begins)
        worth[name] = _worth(pairs[name], candles, account, decided, rate)
    money, found = _as_of(known_at, equity, decided), []
    for row in range(len(entries)):
        others = np.flatnonzero((begins <= begins[row]) & (ends > begins[row]))
        others = others[others != row]
        values: dict[str, float] = {}
        for other in others:
            held = signed[other] * _still(closed, positions[other], begins[row])
            value = held * worth[symbols[other]][row] / money[row]
            values[symbols[other]] = values.get(symbols[other], 0.0) + value
        count = len(set(positions[others]))
        before = _measured(values, count, limits, pairs)
        own = signed[row] * worth[symbols[row]][row] / money[row]
        count = len({*positions[others], positions[row]})
        after = _measured({**values, symbols[row]: values.get(symbols[row], 0.0) + own}, count, limits, pairs)
        moment = pd.Timestamp(begins[row], tz="UTC")
        for name, (reached, most) in after.items():
            slack = 0.0 if name == _COUNT else tolerance
            if reached > most * (1 + slack) and reached > before.get(name, (0.0, most))[0]:
                found.append(Breach(moment, name, reached, most))
    return found


def _closed(done: pd.DataFrame) -> dict[int, tuple[pd.Timestamp, Times, Floats]]:
    """Return by position when all of it was closed (`_NEVER`: it is not), the times of its exits, and the share of its
    entries that was closed by then.
    """
    entered = done[done["purpose"] == "entry"].groupby("position")["filled"].sum()
    exits = done[(done["purpose"] == "exit") & done["position"].isin(entered.index)]
    late = pd.to_timedelta((exits["kind"] != "market").astype(np.int64), unit="ns")
    exits = exits.assign(left_at=exits["filled_at"] + late).sort_values("left_at", kind="stable")
    out = {}
    for position, left in exits.groupby("position"):
        share = left["filled"].to_numpy(dtype=np.float64).cumsum() / entered[position]
        until = left["left_at"].iloc[-1] if share[-1] >= _WHOLE else _NEVER
        out[position] = (until, array_times(left["left_at"]), share)
    return out


def _still(
    closed: Mapping[int, tuple[pd.Timestamp, Times, Floats]], position: int, at: np.datetime64
) -> float:  # fmt: skip
    """Return the share of a position's entries that is held at a time."""
    if position not in closed:
        return 1.0
    _, times, share = closed[position]
    gone = int(np.searchsorted(times, at, side="right"))
    return 1.0 - float(share[gone - 1]) if gone else 1.0


def _worth(
    pair: Instrument, candles: Mapping[str, Candles], account: str, when: Times, rate: Floats
) -> Floats:  # fmt: skip
    """Return what a unit of a pair is worth in the account's currency: (times,); `rate` converts where bars do not."""
    if pair.base == account:
        return np.ones(len(when))

    def close(symbol: str) -> Floats:
        return _as_of(candles[symbol].known_at, candles[symbol].close, when)

    if pair.quote == account:
        return close(pair.symbol)
    if pair.quote + account in candles:
        return close(pair.symbol) * close(pair.quote + account)
    if account + pair.quote in candles:
        return close(pair.symbol) / close(account + pair.quote)
    return close(pair.symbol) * rate


def _as_of(known_at: Times, values: Floats, when: Times) -> Floats:
    """Return the last of `values` known at each time: (times,); the first where none was."""
    return np.asarray(values[np.maximum(np.searchsorted(known_at, when, side="right") - 1, 0)])


def _measured(
    values: Mapping[str, float], positions: int, limits: PortfolioLimits, pairs: Mapping[str, Instrument]
) -> dict[str, tuple[float, float]]:  # fmt: skip
    """Return value and limit of what is limited by name; `values`: signed multiples of equity by symbol."""
    held: dict[str, float] = {}
    for symbol, value in values.items():
        held[pairs[symbol].base] = held.get(pairs[symbol].base, 0.0) + value
        held[pairs[symbol].quote] = held.get(pairs[symbol].quote, 0.0) - value
    out = {
        "gross exposure": (sum(map(abs, values.values())), limits.gross),
        "net exposure": (abs(sum(values.values())), limits.net),
        **{f"{name} exposure": (abs(value), limits.currency) for name, value in sorted(held.items())},
        _COUNT: (float(positions), limits.positions),
    }
    return {name: (value, float(most)) for name, (value, most) in out.items() if most is not None}
