"""Configuration of drift detection (SPEC 13)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fxgpt_core.common.config import Config

CALENDAR_COLUMNS = (
    *("hour_*", "weekday_*", "week_left_*", "week_opening_*", "week_closing_*", "minute_*", "month_*", "rollover_*"),
    *("sydney_*", "tokyo_*", "london_*", "new_york_*", "clock_gap_*", "cal_*"),
)

JUDGED_COLUMNS = (
    *("open_gap_*", "high_open_*", "low_open_*", "close_close_*", "ret_lag_*", "mom_*"),
    *("rv_*", "vol_*", "atr_*", "har_*", "bb_*", "volume_*"),
    *("rsi_*", "stoch_*", "cci_*", "willr_*", "macd*", "adx_*", "di_*"),
)
"""The largest of hundreds of distances is that of some slow column even in calm weeks: an alarm would need a crash."""


class DriftConfig(Config):
    """What is compared, over which window, and how rarely calm markets may raise an alarm."""

    window_days: int = Field(default=7, ge=1, le=60, description="Length of the judged window, in calendar days.")
    monthly_false_alarms: float = Field(
        default=0.05, gt=0, lt=0.5, description="Probability of an alarm in a month like those of the training span."
    )
    min_windows: int = Field(
        default=8, ge=4, le=1000, description="Windows that do not overlap which the training span must hold at least."
    )
    backend: Literal["scipy", "alibi"] = Field(
        default="scipy", description="Who computes the statistics: scipy and numpy, or alibi-detect on PyTorch."
    )
    max_columns: int = Field(
        default=64, ge=2, le=1000, description="Most feature columns judged; of more, evenly spaced ones are taken."
    )
    include: tuple[str, ...] = Field(
        default=JUDGED_COLUMNS,
        description="Name patterns of columns that are judged: size and shape of moves, momentum, volume.",
    )
    exclude: tuple[str, ...] = Field(
        default=CALENDAR_COLUMNS, description="Name patterns of columns that say what time it is, not how markets are."
    )
    reference_rows: int = Field(
        default=5000, ge=200, le=200_000, description="Most rows of the training span that are kept as reference."
    )
    mmd_rows: int = Field(
        default=400, ge=50, le=5000, description="Most rows on either side of an MMD (cost is quadratic)."
    )
    report_columns: int = Field(
        default=12, ge=1, le=200, description="Columns with the largest statistic that the drift report shows."
    )
    online_columns: tuple[str, ...] = Field(
        default=("abs_return", "surprise", "close_close_*"),
        min_length=1,
        description="Name patterns of columns that are watched bar by bar.",
    )
    online_hours: float = Field(
        default=48.0, gt=0, le=240, description="Trading hours of bars that the online statistics look at."
    )
    dead_feed_hours: float = Field(
        default=12.0,
        gt=0,
        le=240,
        description="Trading hours without a bar that moved from which a feed counts as dead, unless the training span "
        "had longer ones.",
    )
