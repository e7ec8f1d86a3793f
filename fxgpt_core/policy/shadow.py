"""What becomes of a shadow: promoted, archived, or watched on; a pure function of live evidence (SPEC 13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from fxgpt_core.common.config import Config
from fxgpt_core.common.dependence import MeanEstimate
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.policy.decision import Decision
from fxgpt_core.policy.service import too_many

PROMOTE, ARCHIVE, WAIT = "promote", "archive", "wait"


class ShadowConfig(Config):
    """How a shadow is judged on what it and the champion forecast live."""

    min_days: float = Field(
        default=7.0, gt=0, le=365, description="Days beside the champion before anything is decided."
    )
    max_days: float = Field(
        default=28.0, gt=0, le=365, description="Days after which the better point estimate decides."
    )
    false_promotion: float = Field(
        default=0.05, gt=0, lt=0.5, description="Probability that a shadow which is no better is ever called superior."
    )
    margin: float = Field(
        default=0.0025,
        ge=0,
        le=0.1,
        description="Share of the champion's CRPS by which a shadow may be worse where the champion is degraded or "
        "near its expiry.",
    )
    margin_level: float = Field(default=0.1, gt=0, lt=0.5, description="One minus the confidence of that bound.")
    near_expiry_days: float = Field(default=7.0, ge=0, le=365, description="Days before expiry that count as near.")
    min_blocks: int = Field(default=3, ge=2, le=1000, description="Fewest blocks of outcomes on which to decide.")
    coverage: float = Field(default=0.9, gt=0, lt=1, description="Central interval whose coverage must hold.")
    coverage_tolerance: float = Field(
        default=0.03, ge=0, le=0.5, description="The coverage's confidence interval must reach this near to nominal."
    )
    sharpe_veto: float = Field(
        default=2.0, gt=0, le=10, description="Standard errors by which the shadow's trading may fall behind."
    )
    max_error_rate: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="Share of decisions without forecast; a shadow with significantly more is not promoted, for it "
        "was compared only where it forecast.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> ShadowConfig:
        if self.max_days < self.min_days:
            raise ValueError(f"max_days {self.max_days:g} lies below min_days {self.min_days:g}")
        return self


@dataclass(frozen=True)
class ShadowEvidence:
    """What champion and shadow showed on the same decisions since the shadow `entered`, up to `now` (UTC).

    `difference`: champion's CRPS less the shadow's over the champion's, pooled over horizons: above zero the shadow is
    better. E-values after the last block: `superior` of a mean above zero, `inferior` of one below, `tolerable` of one
    above the margin. `coverage`: of the shadow by horizon, with its confidence interval. `trading`: what the shadow's
    sign earned less the champion's, a decision, None where either has no opinion. `days_to_expiry`: of the champion
    from the newest decision of the shadow, below zero where it has expired. `failed`: of the `owed` decisions, those
    at which the shadow had no forecast.
    """

    champion: str
    shadow: str
    entered: np.datetime64
    now: np.datetime64
    blocks: int
    decisions: int
    difference: float
    superior: float
    inferior: float
    tolerable: float
    coverage: Mapping[int, tuple[float, float, float]]
    trading: MeanEstimate | None = None
    degraded: bool = False
    days_to_expiry: float | None = None
    failed: int = 0
    owed: int = 0
    running: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def days(self) -> float:
        """How long the shadow has run beside the champion."""
        return float((self.now - self.entered) / np.timedelta64(1, "D"))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        values = {**asdict(self), "entered": str(self.entered), "now": str(self.now), "days": self.days}
        values["coverage"] = {str(horizon): list(found) for horizon, found in self.coverage.items()}
        values["running"] = {name: list(found) for name, found in self.running.items()}
        return values


def trial_cause(shadow: str, champion: str, entered: np.datetime64, what: str) -> str:
    """Name what is decided of one trial: a shadow beside a champion since it entered."""
    return f"shadow:{shadow}:{champion}:{np.datetime_as_string(entered, unit='s')}:{what}"


def decide_shadow(symbol: str, evidence: ShadowEvidence, config: ShadowConfig) -> Decision:
    """Return `promote`, `archive` or `wait` with reasons.

    From `min_days` on the shadow is promoted when its CRPS is superior by a test that may be looked at daily, or, where
    the champion is degraded or near its expiry, when it is not worse by more than the margin; and only if its coverage
    holds and its trading has no veto. A shadow that is shown to be worse is archived at once. After `max_days` the
    better point estimate decides. A champion that has expired forecasts nothing any more, so no comparison will ever
    come: its shadow follows it as soon as its coverage holds.
    """

    def decision(what: str, *reasons: str) -> Decision:
        named = trial_cause(evidence.shadow, evidence.champion, evidence.entered, what)
        return Decision(symbol, what, reasons, evidence.now, named, {**evidence.to_dict(), "limits": _limits(config)})

    against = _against(evidence, config)
    told = (
        f"{evidence.shadow} has run {evidence.days:.1f} days beside {evidence.champion}: CRPS "
        f"{-evidence.difference:+.2%} over {evidence.decisions} decisions in {evidence.blocks} blocks."
    )
    if evidence.days < config.min_days:
        return decision(WAIT, told, f"Nothing is decided before {config.min_days:g} days.")
    gone = evidence.days_to_expiry is not None and evidence.days_to_expiry < 0
    if gone and not against and evidence.inferior < 1 / config.false_promotion:
        return decision(PROMOTE, told, "The champion has expired and forecasts nothing; the shadow's coverage holds.")
    if evidence.blocks < config.min_blocks:
        return decision(WAIT, told, f"{evidence.blocks} blocks of outcomes are known, {config.min_blocks} are needed.")
    if evidence.inferior >= 1 / config.false_promotion:
        return decision(ARCHIVE, told, f"It is worse: e-value {evidence.inferior:.1f}.")
    for why in _for(evidence, config):
        if not against:
            return decision(PROMOTE, told, why)
    if evidence.days < config.max_days:
        return decision(WAIT, told, *_undecided(evidence, config), *against)
    if evidence.difference > 0 and not against:
        return decision(PROMOTE, told, f"Undecided after {config.max_days:g} days; the point estimate is better.")
    worse = "the point estimate is not better" if evidence.difference <= 0 else "it may not be promoted"
    return decision(ARCHIVE, told, f"Undecided after {config.max_days:g} days and {worse}.", *against)


def _for(evidence: ShadowEvidence, config: ShadowConfig) -> list[str]:
    found = []
    if evidence.superior >= 1 / config.false_promotion:
        found.append(f"Its CRPS is superior: e-value {evidence.superior:.1f}, needed {1 / config.false_promotion:g}.")
    late = evidence.days_to_expiry is not None and evidence.days_to_expiry <= config.near_expiry_days
    if (evidence.degraded or late) and evidence.tolerable >= 1 / config.margin_level:
        why = "is degraded" if evidence.degraded else f"expires in {evidence.days_to_expiry:.1f} days"
        found.append(
            f"The champion {why}, and the shadow's CRPS is not worse by {config.margin:.2%}: e-value "
            f"{evidence.tolerable:.1f}, needed {1 / config.margin_level:g}."
        )
    return found


def _against(evidence: ShadowEvidence, config: ShadowConfig) -> list[str]:
    found = []
    for horizon, (share, low, high) in evidence.coverage.items():
        if low > config.coverage + config.coverage_tolerance or high < config.coverage - config.coverage_tolerance:
            where = horizon_name(horizon)
            found.append(f"Its {config.coverage:.0%} coverage at {where} is {share:.1%} ({low:.1%} to {high:.1%}).")
    if not evidence.coverage:
        found.append("Its coverage is not known yet.")
    if too_many(evidence.failed, evidence.owed, config.max_error_rate):
        found.append(f"It failed at {evidence.failed} of {evidence.owed} decisions, limit {config.max_error_rate:.1%}.")
    earned = evidence.trading
    if earned is not None and earned.mean < -config.sharpe_veto * earned.error:
        found.append(f"Trading its sign earns less, by {-earned.mean / max(earned.error, 1e-12):.1f} standard errors.")
    return found


def _undecided(evidence: ShadowEvidence, config: ShadowConfig) -> list[str]:
    return [
        f"E-value of superior CRPS {evidence.superior:.2f}, needed {1 / config.false_promotion:g}; undecided until "
        f"{config.max_days:g} days."
    ]


def _limits(config: ShadowConfig) -> dict[str, Any]:
    return config.model_dump(mode="json")
