"""What follows from adherence: go on, trade half as large, or stop; and which limits were breached (SPEC 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fxgpt_core.backtest.adherence_config import AdherenceConfig
from fxgpt_core.backtest.limits import PortfolioLimits
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.instruments import Instrument
from fxgpt_core.policy.decision import Decision

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
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
    about slippage, rejections, costs and breaches. Figures of fewer than `least_orders` orders decide nothing; a breach
    always does.
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
        if costly:
            alerts.append(
                f"Costs are {drift:+.0%} against what was expected, beyond {config.cost_tolerance:.0%}: orders are "
                "halved."
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
    tolerance: float,
) -> list[Breach]:
    """Return every limit that filled entries exceeded, judged by equity and prices at their decision.

    `judged`: of `adherence.judge`; `candles`: mid bars by symbol; `known_at`, `equity`: (bars,) the account at closes.
    Correlation is left to whoever places orders: it is a limit on what is sent.
    """
    done = judged[judged["filled"] > 0]
    exits = done[done["purpose"] == "exit"].set_index("position")["filled_at"]
    entries = done[done["purpose"] == "entry"].sort_values("filled_at", kind="stable")
    begins, decided = (_naive(entries[name]) for name in ("filled_at", "decided_at"))
    ends = _naive(entries["position"].map(exits).fillna(_NEVER))
    symbols = entries["symbol"].to_numpy()
    signed = (entries["direction"] * entries["filled"] * entries["rate"]).to_numpy(dtype=np.float64)
    prices = {name: _as_of(candles[name].known_at, candles[name].close, decided) for name in set(symbols)}
    money, found = _as_of(known_at, equity, decided), []
    for row in range(len(entries)):
        held = np.flatnonzero((begins <= begins[row]) & (ends > begins[row]))
        held = np.union1d(held, [row])  # in and out within one bar: it was held nevertheless
        values: dict[str, float] = {}
        for other in held:
            value = signed[other] * prices[symbols[other]][row] / money[row]
            values[symbols[other]] = values.get(symbols[other], 0.0) + value
        moment = pd.Timestamp(begins[row], tz="UTC")
        found += [Breach(moment, *over) for over in _exceeded(values, len(held), limits, pairs, tolerance)]
    return found


def _as_of(known_at: Times, values: Floats, when: Times) -> Floats:
    """Return the last of `values` known at each time: (times,); the first where none was."""
    return np.asarray(values[np.maximum(np.searchsorted(known_at, when, side="right") - 1, 0)])


def _naive(when: pd.Series[Any]) -> Times:
    return np.asarray(when.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[ns]"))


def _exceeded(
    values: Mapping[str, float],
    positions: int,
    limits: PortfolioLimits,
    pairs: Mapping[str, Instrument],
    tolerance: float,
) -> list[tuple[str, float, float]]:
    """Return name, value and limit of what is exceeded; `values`: signed multiples of equity by symbol."""
    held: dict[str, float] = {}
    for symbol, value in values.items():
        held[pairs[symbol].base] = held.get(pairs[symbol].base, 0.0) + value
        held[pairs[symbol].quote] = held.get(pairs[symbol].quote, 0.0) - value
    measured = [
        ("gross exposure", sum(map(abs, values.values())), limits.gross),
        ("net exposure", abs(sum(values.values())), limits.net),
        *((f"{name} exposure", abs(value), limits.currency) for name, value in sorted(held.items())),
    ]
    over = [(n, value, most) for n, value, most in measured if most is not None and value > most * (1 + tolerance)]
    if limits.positions is not None and positions > limits.positions:
        over.append(("the number of positions", float(positions), float(limits.positions)))
    return over
