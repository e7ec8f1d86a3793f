"""Configuration of backtests: which forecasts are traded, how large, how long (SPEC 11)."""

from __future__ import annotations

import difflib
from typing import Literal

from pydantic import Field, field_validator, model_validator

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.symbols import CURRENCIES
from fxgpt_core.common.timeframes import horizon_minutes


class SizingConfig(Config):
    """How large a position is; every method ends in whole steps of the broker's lot, within all caps (SPEC 11).

    Notional values are multiples of equity. `std`: of the forecast for the traded horizon, in log returns; `edge`: its
    mean towards the traded side, which P(up) chooses, and 0 where the mean points the other way.

    - `fixed`: `lots`.
    - `percent`: `BacktestConfig.size_fraction` of equity.
    - `inverse_volatility`: notional = `risk` x equity / std, so that one standard deviation moves equity by `risk`.
    - `kelly`: notional = `kelly_fraction` x equity x edge / std^2 (Kelly 1956; Thorp 2006, eq. 7.2, for small moves).
    - `risk`: notional = `risk` x balance / stop distance x confidence x strength, the strength being edge / std, at
      most 1; tiny for honest forecasts of direction. The balance is cash without the open position.
    - `shrink`: `size_fraction` x (1 - uncertainty / threshold): the uncertainty is std, the threshold the
      `uncertainty_quantile` of the model's own earlier ones; above it nothing is traded.
    """

    method: Literal["fixed", "percent", "inverse_volatility", "kelly", "risk", "shrink"] = "percent"
    lots: float = Field(default=0.1, gt=0, le=1e6, description="Size for `fixed`.")
    risk: float = Field(default=0.01, gt=0, le=0.5, description="Share of equity or balance that is put at risk.")
    kelly_fraction: float = Field(default=0.25, gt=0, le=1, description="Share of the Kelly bet.")
    uncertainty_quantile: float = Field(
        default=0.9, gt=0, lt=1, description="Quantile of earlier standard deviations at which `shrink` stops trading."
    )
    max_fraction: float | None = Field(
        default=None, gt=0, le=500, description="Largest notional value of one position as a multiple of equity."
    )
    max_lots: float | None = Field(default=None, gt=0, le=1e6, description="Largest position in lots.")


class BacktestConfig(Config):
    """How out-of-sample forecasts become trades.

    Confidence is max(P(up), P(down)); a bar is traded when its confidence reaches the `confidence_quantile` of the
    model's own confidences on EARLIER rows, so nothing of the tested span decides its own threshold.
    """

    horizon: str | None = Field(
        default=None,
        description="Horizon that is traded, as 4h or minutes; by default the middle one: shorter ones rarely earn "
        "their spread, longer ones leave few trades.",
    )
    confidence: Literal["probability", "ratio"] = Field(
        default="probability",
        description="`probability`: max(P(up), P(down)); `ratio`: 1 / (1 + std / |mean|), tiny for honest forecasts.",
    )
    confidence_quantile: float = Field(
        default=0.7, ge=0, lt=1, description="Quantile of earlier confidences that a forecast must reach."
    )
    history_rows: int = Field(
        default=100, ge=1, le=100_000, description="Forecasts seen before the first trade, to know that quantile."
    )
    least_edge: float = Field(
        default=0.002,
        ge=0,
        lt=0.5,
        description="Least |P(up) - 0.5| that counts as a direction; a forecast that never has it is not traded.",
    )
    least_move: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="Least mean towards the traded side as a multiple of the round trip of spread, slippage and "
        "commission at the decision.",
    )
    interval: float | None = Field(
        default=None,
        gt=0,
        le=0.98,
        description="Trade only when the central interval of this coverage leaves zero outside, on the traded side.",
    )
    size_fraction: float = Field(
        default=1.0, gt=0, le=100, description="Notional value of a position as a multiple of equity."
    )
    sizing: SizingConfig = SizingConfig()
    lot_units: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Positions are whole multiples of so many units of the base currency; by default the broker's "
        "lot step. Its smallest lot then no longer applies.",
    )
    leverage: float = Field(default=30.0, ge=1, le=500, description="Largest leverage of the account (1 / margin).")
    margin_use: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Share of that leverage which new positions may fill; the rest is for the gap to the next open.",
    )
    stop_out: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="The broker closes positions at an open where equity is below this share of the margin that they "
        "use (their value over `leverage`); 0: only when nothing is left.",
    )
    stop_loss: float | None = Field(
        default=None, gt=0, le=20, description="Stop distance from the close, in forecast standard deviations."
    )
    take_profit: float | None = Field(
        default=None, gt=0, le=20, description="Target distance from the close, in forecast standard deviations."
    )
    trailing_stop: float | None = Field(
        default=None,
        gt=0,
        le=20,
        description="Distance at which a stop follows the best price of the bars so far, in forecast standard "
        "deviations at the decision.",
    )
    max_holding: str | None = Field(
        default=None,
        description="Longest life of a position, as 12h or minutes, however often its direction is confirmed.",
    )
    exit_on_opposite: bool = Field(
        default=True, description="An opposite signal closes and reverses; otherwise it is ignored while one holds."
    )
    exit_before_weekend: bool = Field(
        default=True, description="Be flat over the weekend and what holidays add to it; nothing enters just before."
    )
    weekend_lead_minutes: int = Field(
        default=15,
        ge=0,
        le=7200,
        description="The exit is decided at the last close so many minutes or more before the week stops trading by "
        "market_hours.yaml, and nothing enters from then on; longer for a feed that ends its weeks earlier.",
    )
    entry_gap_minutes: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="An entry whose bar opens more minutes than this after its decision is cancelled; by default two "
        "bars, at least an hour. Exits are filled at the next open, however late.",
    )
    account_currency: str = Field(
        default="USD", min_length=3, max_length=3, description="Currency of the account; profits are converted to it."
    )
    initial_cash: float = Field(
        default=10_000.0, gt=0, le=1e12, description="Equity at the start, in the account's currency."
    )
    bootstrap_draws: int = Field(default=1000, ge=100, le=100_000, description="Resamples behind every interval.")
    bootstrap_block_days: int = Field(
        default=5, ge=1, le=60, description="Trading days that are resampled together, so that dependence survives."
    )
    confidence_level: float = Field(default=0.95, gt=0.5, lt=1, description="Coverage of the bootstrap intervals.")
    engine: Literal["backtesting", "ledger"] = Field(
        default="ledger",
        description="`ledger`: own engine, all costs and currencies; `backtesting`: backtesting.py, which refuses "
        "what it cannot model (a changing spread, swap, another currency) and agrees trade for trade on the rest.",
    )

    @field_validator("account_currency")
    @classmethod
    def _known_currency(cls, value: str) -> str:
        name = value.upper()
        if name not in CURRENCIES:
            near = difflib.get_close_matches(name, CURRENCIES, n=1)
            raise ValueError(f"{value!r} is no known currency{f'; did you mean {near[0]}?' if near else ''}")
        return name

    @field_validator("horizon", "max_holding")
    @classmethod
    def _known_horizon(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                _minutes(value)
            except BadInputError as error:
                raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _affordable(self) -> BacktestConfig:
        if self.sizing.method in ("percent", "shrink") and self.size_fraction > self.margin_use * self.leverage:
            raise ValueError(
                f"size_fraction {self.size_fraction} needs more than {self.margin_use:.0%} of leverage "
                f"{self.leverage}: lower it"
            )
        if self.sizing.method == "risk" and self.stop_loss is None:
            raise ValueError("sizing.method 'risk' divides by the distance of the stop: set stop_loss")
        return self

    def horizon_of(self, horizons: tuple[int, ...]) -> int:
        """Return the traded horizon in minutes: the configured one, else the middle (the shorter of two)."""
        if self.horizon is None:
            return sorted(horizons)[(len(horizons) - 1) // 2]
        return _minutes(self.horizon)

    def longest(self, bar_minutes: int) -> int:
        """Return the longest life of a position in bars; practically unlimited where none is set."""
        return 2**31 if self.max_holding is None else max(1, _minutes(self.max_holding) // bar_minutes)


def _minutes(text: str) -> int:
    return horizon_minutes(int(text) if text.isdigit() else text)
