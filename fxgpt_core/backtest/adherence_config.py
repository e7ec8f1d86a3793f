"""Configuration of adherence: how far what happened may lie from what was meant (SPEC 11)."""

from __future__ import annotations

from pydantic import Field

from fxgpt_core.common.config import Config


class AdherenceConfig(Config):
    """When adherence raises an alert, and what counts as accurate."""

    slippage: float = Field(default=0.001, gt=0, le=1, description="Mean slippage, as a share of the price.")
    rejections: float = Field(default=0.05, gt=0, le=1, description="Share of the orders sent that the broker refuses.")
    cost_tolerance: float = Field(
        default=0.1, ge=0, le=10, description="How far realised cost may lie from what is expected, as a share of it."
    )
    least_orders: int = Field(default=20, ge=1, le=100_000, description="Orders sent before any of these is judged.")
    accuracy: float = Field(
        default=1e-4, gt=0, le=0.1, description="Distance from its level, as a share, within which a fill is accurate."
    )
    back_bars: int = Field(
        default=24, ge=1, le=10_000, description="Bars in which a price comes back from a false stop."
    )
    breach_tolerance: float = Field(
        default=0.02, ge=0, le=1, description="How far beyond a limit prices may carry an entry until it is filled."
    )
