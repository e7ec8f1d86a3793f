"""Configuration of conformal calibration."""

from __future__ import annotations

from pydantic import Field

from fxgpt_core.common.config import Config


class CalibrationConfig(Config):
    """When forecasts are calibrated and when their calibration deserves a warning (SPEC 10)."""

    min_rows: int = Field(100, ge=50, description="fewest known out-of-sample rows of a horizon to calibrate on")
    warn_rows: int = Field(1000, ge=0, description="a warning is printed below so many calibration rows")
    warn_effective: float = Field(100.0, ge=0, description="a warning is printed below so many effective rows")
