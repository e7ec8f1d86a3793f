"""Configuration of backtests: which forecasts are traded, how large, how long (SPEC 11)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.timeframes import horizon_minutes


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
    size_fraction: float = Field(
        default=1.0, gt=0, le=100, description="Notional value of a position as a multiple of equity."
    )
    lot_units: int = Field(
        default=1, ge=1, le=100_000, description="Positions are whole multiples of so many units of the base currency."
    )
    leverage: float = Field(default=30.0, ge=1, le=500, description="Largest leverage of the account (1 / margin).")
    stop_loss: float | None = Field(
        default=None, gt=0, le=20, description="Stop distance from the close, in forecast standard deviations."
    )
    take_profit: float | None = Field(
        default=None, gt=0, le=20, description="Target distance from the close, in forecast standard deviations."
    )
    exit_before_weekend: bool = Field(
        default=True, description="Be flat over the weekend: exit at the open of the week's last bar, enter none later."
    )
    initial_cash: float = Field(
        default=10_000.0, gt=0, le=1e9, description="Equity at the start, in units of the base currency."
    )
    bootstrap_draws: int = Field(default=1000, ge=100, le=100_000, description="Resamples behind every interval.")
    bootstrap_block_days: int = Field(
        default=5, ge=1, le=60, description="Trading days that are resampled together, so that dependence survives."
    )
    confidence_level: float = Field(default=0.95, gt=0.5, lt=1, description="Coverage of the bootstrap intervals.")
    engine: Literal["backtesting", "ledger"] = Field(
        default="backtesting",
        description="`backtesting`: backtesting.py; `ledger`: own cash book, trade for trade equal.",
    )

    @field_validator("horizon")
    @classmethod
    def _known_horizon(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                horizon_minutes(int(value) if value.isdigit() else value)
            except BadInputError as error:
                raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _affordable(self) -> BacktestConfig:
        if self.size_fraction > 0.9 * self.leverage:
            raise ValueError(
                f"size_fraction {self.size_fraction} needs more than 90 % of leverage {self.leverage}: lower it"
            )
        return self

    def horizon_of(self, horizons: tuple[int, ...]) -> int:
        """Return the traded horizon in minutes: the configured one, else the middle (the shorter of two)."""
        if self.horizon is None:
            return sorted(horizons)[(len(horizons) - 1) // 2]
        return horizon_minutes(int(self.horizon) if self.horizon.isdigit() else self.horizon)
