"""Which model takes which place after a training: a pure function of its evaluation (SPEC 9, 13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.evaluation.result import Evaluation, Recent
from fxgpt_core.policy.alarms import raised_alarms
from fxgpt_core.policy.config import GateConfig
from fxgpt_core.policy.decision import Decision
from fxgpt_core.store.asset_config import AcknowledgedAlarm

CHAMPION, SHADOW, KEEP = "champion", "shadow", "keep"


@dataclass(frozen=True)
class GateResult:
    """What one family showed at the gate.

    `skill`: pooled CRPS skill against the best baselines; `p_value`: one-sided, times the number of challengers
    (Bonferroni: among three models without skill, one passes 5 % by luck in 14 of 100 cases); `failures`: a sentence
    for every requirement not met; `notes`: one for every leakage alarm that a person has looked into.
    """

    family: str
    skill: float
    p_value: float
    effective_rows: float
    coverage: Mapping[str, tuple[float, float, float]]
    failures: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.failures


def decide_champion(
    evaluation: Evaluation,
    candidates: Sequence[str],
    current: str | None,
    at: np.datetime64,
    config: GateConfig,
    acknowledged: Sequence[AcknowledgedAlarm] = (),
) -> Decision:
    """Return who becomes what among the newly trained `candidates` (families); `current` is the champion's family.

    Without a champion, the challenger (a family that is no baseline) with the lowest pooled CRPS among those that
    pass the gate becomes `champion`; when none passes, the best baseline does, and the reasons say so. With a
    champion, nothing replaces it here: the best new candidate without a leakage alarm enters as `shadow`, to be judged
    on what it forecasts live, be it a challenger, the champion's own family trained anew, or a baseline. Best is the
    lowest pooled CRPS over all rows, unless another candidate is shown to be better over the newest days (`beats`): a
    year of history says little about a market that changed last week. With no candidate the decision is `keep`.
    `evidence["family"]` is the chosen family (None for `keep`), `evidence["gate"]` every challenger's result.
    `acknowledged` are the leakage alarms that a person has looked into; their reasons are among the decision's.

    Raises DataError when a candidate was not evaluated or there is neither champion nor baseline to fall back on.
    """
    challengers = [name for name in candidates if name not in evaluation.baselines]
    gate = {name: judge(evaluation, name, len(challengers), config, acknowledged) for name in challengers}

    def decision(what: str, family: str | None, *reasons: str, recent: Recent | None = None) -> Decision:
        evidence: dict[str, Any] = {
            "family": family,
            "current": current,
            "gate": {name: {**asdict(result), "passed": result.passed} for name, result in gate.items()},
            "relative_crps": {name: evaluation.pooled_of(name).relative_crps for name in candidates},
            "recent": None if recent is None else asdict(recent),
            "limits": config.model_dump(mode="json"),
        }
        return Decision(evaluation.symbol, what, reasons, at, evidence=evidence)

    failed = [
        f"{name} failed the gate: {'; '.join(gate[name].failures)}." for name in challengers if gate[name].failures
    ] + [f"{name}: {note}." for name in challengers for note in gate[name].notes]
    if current is not None:
        what, family, said, recent = _shadow(evaluation, candidates, current, at, config, acknowledged)
        return decision(what, family, said, *failed, recent=recent)
    passed = [name for name in challengers if gate[name].passed]
    if passed:
        chosen = _best(evaluation, passed)
        return decision(CHAMPION, chosen, f"{chosen} passed the gate: {_strength(gate[chosen])}.", *failed)
    baselines = [name for name in candidates if name in evaluation.baselines]
    if not baselines:
        raise DataError(
            f"No candidate of {evaluation.symbol} passed the gate and none of {', '.join(candidates)} is a baseline to "
            "fall back on: train a baseline too."
        )
    chosen = _best(evaluation, baselines)
    return decision(
        CHAMPION, chosen, f"No model passed the gate, so the best baseline, {chosen}, is champion.", *failed
    )


def judge(
    evaluation: Evaluation,
    family: str,
    challengers: int,
    config: GateConfig,
    acknowledged: Sequence[AcknowledgedAlarm] = (),
) -> GateResult:
    """Return the gate's verdict on one family among `challengers` families tried together."""
    pooled = evaluation.pooled_of(family)
    p_value = min(1.0, pooled.p_value * max(1, challengers))
    entries = [evaluation.of(family, horizon) for horizon in evaluation.horizons]
    effective = min(entry.effective_rows for entry in entries)
    failures = []
    if p_value >= config.p_value:
        failures.append(
            f"CRPS skill {pooled.skill.value:+.2%} against the best baselines, p = {p_value:.3f} after correction for "
            f"{challengers} models, not below {config.p_value:g}"
        )
    if effective < config.min_effective_rows:
        failures.append(f"{effective:.0f} effective rows, fewer than {config.min_effective_rows:g}")
    coverage = {}
    for entry in entries:
        found = entry.covered(config.coverage).calibrated
        coverage[horizon_name(entry.horizon)] = (found.value, found.low, found.high)
        if not _reaches(found.low, found.high, config):
            failures.append(
                f"{config.coverage:.0%} coverage at {horizon_name(entry.horizon)} is {found.value:.1%} "
                f"({found.low:.1%} to {found.high:.1%}), off by more than {config.coverage_tolerance:.1%}"
            )
    raised = raised_alarms(evaluation, family, acknowledged)
    failures += [alarm.sentence for alarm in raised if alarm.open]
    notes = tuple(alarm.sentence for alarm in raised if not alarm.open)
    return GateResult(family, pooled.skill.value, p_value, effective, coverage, tuple(failures), notes)


def _reaches(low: float, high: float, config: GateConfig) -> bool:
    """Tell whether the coverage's confidence interval touches nominal ± tolerance."""
    return high >= config.coverage - config.coverage_tolerance and low <= config.coverage + config.coverage_tolerance


def beats(
    evaluation: Evaluation, family: str, rival: str, candidates: Sequence[str], at: np.datetime64, config: GateConfig
) -> Recent | None:
    """Return the comparison by which `family` is better than `rival` over the newest days, None where it is not shown.

    Its p-value is multiplied by how many of the `candidates` are compared with the rival (Bonferroni). Days that ended
    longer before `at` than they lasted say nothing of now. Forecasts are those of the walk-forward, whose models
    stopped learning where their fold begins: what adapts by itself is favoured over what has to be trained.
    """
    found = evaluation.lately(family, rival)
    if found is None or found.effective_rows < config.min_recent_rows:
        return None
    since, until = np.datetime64(evaluation.recent_since), np.datetime64(evaluation.recent_until)
    if at - until > until - since:
        return None
    return found if found.p_value * max(1, len(set(candidates) - {rival})) < config.p_value else None


def outdone(
    evaluation: Evaluation,
    family: str,
    rival: str,
    trained_until: np.datetime64,
    candidates: Sequence[str],
    at: np.datetime64,
    config: GateConfig,
) -> Recent | None:
    """Return the comparison that ends the trial of a shadow of family `rival`, None where none does.

    It must be shown on days that the shadow has learned nothing of: else the fold's model is judged in its place.
    """
    found = beats(evaluation, family, rival, candidates, at, config)
    return found if found is not None and trained_until <= np.datetime64(evaluation.recent_since) else None


def _shadow(
    evaluation: Evaluation,
    candidates: Sequence[str],
    current: str,
    at: np.datetime64,
    config: GateConfig,
    acknowledged: Sequence[AcknowledgedAlarm],
) -> tuple[str, str | None, str, Recent | None]:
    sound = [n for n in candidates if not any(alarm.open for alarm in raised_alarms(evaluation, n, acknowledged))]
    if not sound:
        return KEEP, None, f"{current} stays champion and no new model is fit to be its shadow.", None
    chosen = _best(evaluation, sound)
    better = [beats(evaluation, name, chosen, candidates, at, config) for name in sound if name != chosen]
    lately = [found for found in better if found is not None]
    if lately:
        newest = max(lately, key=lambda found: found.gain.value)
        said = f"{current} stays champion; {newest.family} enters as shadow: {in_words(newest, evaluation)}, which is "
        return SHADOW, newest.family, said + "the best of all history.", newest
    relative = evaluation.pooled_of(chosen).relative_crps
    which = f"{chosen} trained anew" if chosen == current else f"the best new model, {chosen}"
    said = f"{current} stays champion; {which} (CRPS {relative:.4f} of the best baselines'), enters as shadow."
    return SHADOW, chosen, said, None


def in_words(found: Recent, evaluation: Evaluation) -> str:
    """Return a comparison over the newest days for a person."""
    span = f"{evaluation.recent_since[:10]} to {evaluation.recent_until[:10]}"
    sure = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3f}"
    return f"from {span} its CRPS was {found.gain.value:.2%} below that of {found.rival} ({sure})"


def _best(evaluation: Evaluation, names: Sequence[str]) -> str:
    return min(names, key=lambda name: evaluation.pooled_of(name).relative_crps)


def _strength(result: GateResult) -> str:
    return f"CRPS skill {result.skill:+.2%} against the best baselines, p = {result.p_value:.3f}, coverage holds"
