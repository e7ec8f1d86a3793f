"""Configuration of the market layer; imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from fxgpt_core.common.config import Config


class QualityConfig(Config):
    """Limits of the data-quality report and of the check that blocks what comes after it."""

    max_missing_share: float = Field(
        default=0.05, ge=0, le=1, description="Share of market-hour bars (holidays left out) that may be missing."
    )
    max_quarantined_share: float = Field(
        default=0.02, ge=0, le=1, description="Share of the rows given that may be quarantined."
    )
    outlier_scales: float = Field(
        default=30.0,
        gt=1,
        description="A bar-to-bar log return above this many mean absolute returns is reported as a jump.",
    )
    stale_bars: int = Field(
        default=12, ge=2, description="This many bars in a row without any movement of the price are reported as stale."
    )
    holidays: tuple[str, ...] = Field(
        default=("01-01", "12-25"),
        description="Month and day (New York sessions) on which missing bars are expected.",
    )
    block_on_suspect_time_zone: bool = Field(
        default=True, description="Block when the weekly open and close do not fit the time zone of the stamps."
    )
