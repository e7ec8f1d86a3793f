"""`PortfolioLimits`: what several pairs on one capital may hold together (SPEC 15, risk limits)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fxgpt_core.backtest import layout
from fxgpt_core.common.config import Config
from fxgpt_core.market.candles import Candles

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]


class PortfolioLimits(Config):
    """Limits of a portfolio, judged at each decision in the order of its pairs; null: no such limit.

    Values are notional, at the close of the decision, as multiples of equity. Positions whose exit is ordered for the
    next open count no more, entries ordered for it count. An entry beyond a limit is cut to what is left, and refused
    where no lot is. What is held already is never cut: prices and equity may carry it beyond.

    Exposure by currency is signed: a long EURUSD holds EUR and owes USD, a short EURGBP owes EUR and holds GBP, so
    that the two are flat in EUR. The limit holds for either sign and for the account's currency as well.

    Pairs move together when the correlation of their returns, with the sign of their positions, reaches `correlation`,
    measured on `correlation_bars` bars that ended by the decision. While fewer than half of those are known to both,
    they count as moving together.
    """

    gross: float | None = Field(default=4.0, gt=0, le=500, description="Largest sum of all positions.")
    net: float | None = Field(default=3.0, gt=0, le=500, description="Largest sum of longs less shorts, either sign.")
    currency: float | None = Field(
        default=2.0, gt=0, le=500, description="Largest amount held or owed of one currency, pairs netted."
    )
    correlation: float = Field(default=0.8, gt=-1, le=1, description="Correlation from which positions count as one.")
    correlation_bars: int = Field(default=480, ge=10, le=20_000, description="Bars that the correlation looks back on.")
    correlated: float | None = Field(
        default=1.5, gt=0, le=500, description="Largest sum of positions that count as one."
    )
    positions: int | None = Field(default=6, ge=1, le=1000, description="Most positions at a time.")

    @model_validator(mode="after")
    def _in_order(self) -> PortfolioLimits:
        if self.gross is not None and self.net is not None and self.net > self.gross:
            raise ValueError(f"net {self.net:g} can never be reached below gross {self.gross:g}: lower it")
        return self

    def record(self) -> NDArray[Any]:
        """Return the limits as engines read them: (1,) of `layout.LIMITS`."""
        out = np.zeros(1, dtype=layout.LIMITS)
        names = ("gross", "net", "currency", "correlated")
        shares = (np.inf if value is None else value for value in (getattr(self, name) for name in names))
        least = self.correlation_bars // 2
        out[0] = (True, *shares, self.correlation, self.correlation_bars, least, self.positions or 2**31)
        return out


def no_limits() -> NDArray[Any]:
    """Return the record of an account without limits: (1,) of `layout.LIMITS`."""
    return np.zeros(1, dtype=layout.LIMITS)


def returns_on(times: Times, candles: Sequence[Candles], before: int) -> Floats:
    """Return log returns of each pair at `times` (bars,) and at the `before` bars that came before: (pairs, before +
    bars), NaN where a pair has no bar, or had none at the grid's time before.

    The bars before are those of all pairs, so that correlations are known at the first decision.
    """
    earlier = np.unique(np.concatenate([part.ts_utc[part.ts_utc < times[0]] for part in candles]))[-before - 1 :]
    grid = np.concatenate([earlier, times])
    out = np.full((len(candles), before + len(times)), np.nan)
    for number, part in enumerate(candles):
        price = np.full(len(grid), np.nan)
        at = np.searchsorted(part.ts_utc, grid)
        there = part.ts_utc[np.minimum(at, len(part) - 1)] == grid
        price[there] = np.log(part.close[at[there]])
        moves = np.diff(price)  # (grid - 1,)
        out[number, -len(moves) :] = moves[-out.shape[1] :]
    return out
