"""Configuration of retraining and of the gate before the champion's place."""

from __future__ import annotations

from pydantic import Field

from fxgpt_core.common.config import Config
from fxgpt_core.policy.floors import FloorsConfig

_MONTH_DAYS = 30.44


class DegradationConfig(Config):
    """When realised forecasts are worse than the model's own reference (SPEC 13).

    The reference is what the family forecast out of sample in the year before the model was trained, and the model's
    own first days; judged are its days after these.
    """

    recent_days: float = Field(default=30.0, gt=0, le=365, description="Length of the judged window, calendar days.")
    first_days: float = Field(
        default=7.0, ge=0, le=90, description="First days of a model, which belong to its reference."
    )
    reference_days: float = Field(
        default=365.0, gt=0, le=3650, description="How far the reference reaches back from the training, in days."
    )
    false_alarm: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="Most alarms a month that a model which is as good as ever raises, over all measures, horizons and "
        "looks together.",
    )
    look_days: float = Field(
        default=3.5,
        gt=0,
        le=90,
        description="Days from one look at a version to the next; in between nothing is decided anew, for every look "
        "has to be paid for.",
    )
    min_effective: float = Field(
        default=20.0, ge=4, le=100_000, description="Fewest effective outcomes of window and reference to compare."
    )
    accuracy_points: float = Field(
        default=0.05, ge=0, le=0.5, description="The share of right directions must be down by more than this."
    )
    coverage: float = Field(default=0.9, gt=0, lt=1, description="Central interval whose coverage is judged.")
    coverage_points: float = Field(
        default=0.03, ge=0, le=0.5, description="The coverage must be off nominal by more than this."
    )
    floors: FloorsConfig = FloorsConfig()

    @property
    def false_alarm_of_a_look(self) -> float:
        """Probability of a false alarm that one look may have, so that those of a month stay below `false_alarm`."""
        return min(self.false_alarm, self.false_alarm * self.look_days / _MONTH_DAYS)


class ReplayConfig(Config):
    """How the retraining rule is replayed along history (SPEC 11)."""

    families: tuple[str, ...] = Field(
        default=(), description="Families whose retraining along history is backtested; none by default, for it takes "
        "one training every few days of history."
    )  # fmt: skip
    look_hours: int = Field(default=24, ge=1, le=168, description="Hours from one decision to the next.")
    first_look_hour: int = Field(default=22, ge=0, le=23, description="Hour (UTC) from which decisions are counted.")


class RetrainingConfig(Config):
    """When a symbol is retrained (SPEC 13)."""

    every_days: float = Field(default=14.0, gt=0, le=3650, description="Age at which the schedule retrains.")
    cooldown_hours: float = Field(
        default=24.0, ge=0, le=8760, description="Time after a training in which only a person may start another."
    )
    on_drift: bool = Field(default=True, description="Whether the onset of drift starts a retraining.")
    on_degradation: bool = Field(
        default=True, description="Whether forecasts that became worse than the model's reference start a retraining."
    )
    at_once: int = Field(
        default=2, ge=1, le=1000, description="Retrainings over all pairs that may run at the same time."
    )
    min_new_labels: int = Field(
        default=1, ge=0, le=100_000, description="Labels that ended since the last training, without which it waits."
    )
    train_months: float = Field(
        default=18.0, gt=0, le=600, description="Months of history that a retraining along history learns from."
    )
    degradation: DegradationConfig = DegradationConfig()
    replay: ReplayConfig = ReplayConfig()


class GateConfig(Config):
    """What a model must show before it may become champion (SPEC 9, 13; DESIGN, honest numbers)."""

    p_value: float = Field(
        default=0.05, gt=0, lt=1, description="Largest one-sided p-value of better CRPS than the best baseline."
    )
    coverage: float = Field(default=0.9, gt=0, lt=1, description="Central interval whose coverage must hold.")
    coverage_tolerance: float = Field(
        default=0.03, ge=0, le=0.5, description="The coverage's confidence interval must reach this near to nominal."
    )
    min_recent_rows: float = Field(
        default=8.0,
        ge=4,
        description="Fewest effective observations on which a model is called better than another over the newest "
        "days; labels of a day leave ten in two weeks.",
    )
    min_effective_rows: float = Field(
        default=30.0, ge=1, description="Fewest effective observations on which anything may be promoted."
    )
