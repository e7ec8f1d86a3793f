"""Configuration of retraining and of the gate before the champion's place."""

from __future__ import annotations

from pydantic import Field

from fxgpt_core.common.config import Config


class RetrainingConfig(Config):
    """When a symbol is retrained (SPEC 13)."""

    every_days: float = Field(default=14.0, gt=0, le=3650, description="Age at which the schedule retrains.")
    cooldown_hours: float = Field(
        default=24.0, ge=0, le=8760, description="Time after a training in which only a person may start another."
    )
    on_drift: bool = Field(default=True, description="Whether the onset of drift starts a retraining.")


class GateConfig(Config):
    """What a model must show before it may become champion (SPEC 9, 13; DESIGN, honest numbers)."""

    p_value: float = Field(
        default=0.05, gt=0, lt=1, description="Largest one-sided p-value of better CRPS than the best baseline."
    )
    coverage: float = Field(default=0.9, gt=0, lt=1, description="Central interval whose coverage must hold.")
    coverage_tolerance: float = Field(
        default=0.03, ge=0, le=0.5, description="The coverage's confidence interval must reach this near to nominal."
    )
    min_effective_rows: float = Field(
        default=30.0, ge=1, description="Fewest effective observations on which anything may be promoted."
    )
