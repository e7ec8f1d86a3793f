"""Configuration of conformal calibration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fxgpt_core.common.config import Config

Method = Literal["none", "split", "mondrian", "aci", "dtaci"]
Score = Literal["quantile", "spread", "return"]
Grouping = Literal["session", "volatility", "regime", "session_volatility", "session_regime"]


class CalibrationConfig(Config):
    """How forecasts are calibrated and when their calibration deserves a warning (SPEC 10).

    `method` says how far the bounds of an interval move, `score` says in which terms.
    """

    method: Method = Field(
        "dtaci",  # chosen by measurement: docs/results/calibration.md
        description="none: leave forecasts as they are; split: one correction learnt from the past; mondrian: one a "
        "group of rows; aci, dtaci: a correction that follows the outcomes as they become known",
    )
    score: Score = Field(
        "quantile",
        description="quantile: distance from the forecast's own interval in units of its spread (CQR); spread: "
        "distance from the median in units of the spread; return: distance from the median, the same for all rows",
    )
    groups: Grouping = Field(
        "session",
        description="of mondrian: trading session; volatility: thirds of the predicted one; regime: most probable "
        "state of the filtered regime features; or the session with one of them",
    )
    group_effective: float = Field(
        100.0, ge=10, description="a group with fewer effective rows than this takes the correction of all rows"
    )
    rate: float = Field(0.01, gt=0, le=0.5, description="of aci: step of the miss rate for each independent outcome")
    memory: int = Field(
        500, ge=50, le=100_000, description="of dtaci: number of independent outcomes over which it adapts at its best"
    )
    stretch: float = Field(
        3.0,
        gt=1.0,
        le=1e6,
        description="of aci, dtaci: intervals become at most so many times as wide, or as narrow, as split makes them",
    )
    raw_weight: float = Field(
        100.0,
        ge=0.0,
        le=1e6,
        description="number of effective rows that the uncorrected interval (of mondrian: the correction of all rows) "
        "counts for against those that a correction rests on; 0 corrects in full however few they are",
    )
    min_rows: int = Field(100, ge=50, description="fewest known out-of-sample rows of a horizon to calibrate on")
    warn_rows: int = Field(1000, ge=0, description="a warning is printed below so many calibration rows")
    warn_effective: float = Field(100.0, ge=0, description="a warning is printed below so many effective rows")

    @property
    def grouping(self) -> Grouping | None:
        """What the groups of the method go by, None where it has none."""
        return self.groups if self.method == "mondrian" else None
