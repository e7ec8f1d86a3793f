"""Configuration of models at work: who answers, for how long, and on which rows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from fxgpt_core.common.config import Config


class LiveConfig(Config):
    """How live forecasts are made (SPEC 13, 20)."""

    shadow_share: float = Field(
        default=0.1, ge=0, le=1, description="Share of decisions that the shadow answers; both are logged for all."
    )
    backfill_hours: float = Field(
        default=24.0,
        ge=0,
        le=8760,
        description="Hours of open market for which bars missed while nothing ran are forecast later, as `backfill`; "
        "older ones are skipped and counted.",
    )
    late_bars: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="Base bars of open market after which a forecast is late: logged as `backfill`, serves nobody.",
    )
    max_latency_ms: float = Field(
        default=200.0, gt=0, le=60_000, description="95th percentile of the last day's latencies, above it an alert."
    )
    max_error_rate: float = Field(
        default=0.01, gt=0, lt=1, description="Share of the last day's decisions without forecast, above it an alert."
    )
    expires_days: float = Field(
        default=60.0,
        gt=0,
        le=3650,
        description="Days from the last label that a model saw to the last bar that it may forecast.",
    )
    expires_days_of: dict[str, float] = Field(
        default={}, description="The same for single families, such as {ewma: 365}."
    )

    novelty: Literal["off", "flag", "refuse"] = Field(
        default="flag",
        description="What happens to rows far from the training distribution: nothing, a flag, or no forecast.",
    )

    @field_validator("expires_days_of")
    @classmethod
    def _positive(cls, values: dict[str, float]) -> dict[str, float]:
        for family, days in values.items():
            if not 0 < days <= 3650:
                raise ValueError(f"{family} expires after {days:g} days, which must lie above 0 and at most 3650")
        return values

    def expiry_days(self, family: str) -> float:
        """Return after how many days a model of this family expires."""
        return self.expires_days_of.get(family, self.expires_days)
