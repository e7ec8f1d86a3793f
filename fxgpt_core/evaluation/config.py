"""Configuration of what an evaluation reports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fxgpt_core.common.config import Config


class EvaluationConfig(Config):
    """Levels, confidence and alarms of an evaluation (SPEC 9; DESIGN, "Honest numbers")."""

    coverages: tuple[float, ...] = Field(
        (0.5, 0.8, 0.9), description="central intervals whose coverage and width are reported"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1.0, description="two-sided confidence of every printed interval")
    terms: int = Field(8, ge=2, le=64, description="cosine terms of the long-run variance")
    horizon_weights: tuple[float, ...] | None = Field(
        None,
        description="weights over horizons in pooled figures; none: linearly decreasing, 0.4/0.3/0.2/0.1 for four",
    )
    leakage_skill: float = Field(
        0.05, gt=0.0, lt=1.0, description="a lower bound of CRPS skill above this raises the leakage alarm"
    )
    leakage_direction: float = Field(
        0.54, gt=0.5, lt=1.0, description="a lower bound of directional accuracy above this raises the leakage alarm"
    )

    repeats: int = Field(
        1000, ge=100, le=100_000, description="bootstrap resamples behind each horizon's model confidence set"
    )
    groups: tuple[Literal["hour", "session", "volatility"], ...] = Field(
        ("hour", "session", "volatility"), description="what scores are broken down by"
    )
    lags: tuple[int, ...] = Field(
        (1, 2, 3, 5, 10), description="lags of the residuals' autocorrelation, in steps as long as the label's life"
    )
    contradiction_margin: float = Field(
        0.05, ge=0.0, lt=0.5, description="|P(up) - 0.5| from which two opposite horizons contradict each other surely"
    )
    recent_days: float = Field(
        14.0,
        gt=0,
        le=365,
        description="days before the last decision over which families are compared once more, pair "
        "by pair: what was best for a year need not be in a market that has changed",
    )
    release_minutes: int = Field(
        30, ge=1, le=1440, description="a decision so soon after a scheduled release counts as after it"
    )

    @model_validator(mode="after")
    def _within_range(self) -> EvaluationConfig:
        if not self.coverages or not all(0.02 <= c <= 0.98 for c in self.coverages):
            raise ValueError(f"coverages {self.coverages} must lie within 0.02..0.98, the span of the stored levels")
        if 0.9 not in self.coverages:
            raise ValueError(f"coverages {self.coverages} must hold 0.9, which tables and breakdowns show")
        if not all(lag >= 1 for lag in self.lags):
            raise ValueError(f"lags {self.lags} must be at least 1")
        if self.horizon_weights is not None and not all(w > 0 for w in self.horizon_weights):
            raise ValueError(f"horizon_weights {self.horizon_weights} must be positive")
        return self

    def weights(self, horizons: int) -> tuple[float, ...]:
        """Return weights that sum to one, one per horizon in increasing order; ValueError where counts differ."""
        raw = self.horizon_weights or tuple(range(horizons, 0, -1))
        if len(raw) != horizons:
            raise ValueError(f"horizon_weights has {len(raw)} entries for {horizons} horizons")
        return tuple(w / sum(raw) for w in raw)
