"""Checks of stored backtests: audits, which gate the champion and tell of the portfolio, and adherence that warns."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fxgpt_core.models.registry import FAMILIES, FamilyEntry
from fxgpt_pipeline.defs.common import Parts, known
from fxgpt_pipeline.stages import PORTFOLIO, RETRAINED, backtest
from fxgpt_pipeline.workspace import Workspace

_DESCRIPTIONS = {
    "forecasts_came_first": "Every entry was decided when a calibrated forecast was, by a model trained before that "
    "time, to the side that it says and at that bar's close, and no fill came before its decision.",
    "flat_over_weekends": "Where `exit_before_weekend` is set no position was held when its week had closed.",
    "costs_charged": "Every fill paid the spread, commission and slippage, and every position the swap, that the bars "
    "and the configured costs make: no less, no more.",
    "equity_reconciles": "Trades equal their fills and earn gross less costs; final equity equals cash and trades.",
    "fills_adhere": "Slippage, rejections and costs of the fills are within `adherence`; no limit was breached.",
}
_REPLAYED = {
    "trained_before_forecasts": "Every forecast is by the version that served then, trained before that time on labels "
    "that had ended before it."
}
_WARNS = ("flat_over_weekends", "fills_adhere")


def build(parts: Parts) -> list[Any]:
    """Return the checks of every family's backtest, one step a family, of retraining backtests and the portfolio."""
    return [*(_checks(parts, entry) for entry in FAMILIES.values()), _replay_checks(parts), _portfolio_checks()]


def _checks(parts: Parts, entry: FamilyEntry) -> dg.AssetChecksDefinition:
    key = dg.AssetKey(backtest(entry.name))
    specs = [
        dg.AssetCheckSpec(
            name, asset=key, description=said, blocking=name not in _WARNS, partitions_def=parts.symbols
        ) for name, said in _DESCRIPTIONS.items()
    ]  # fmt: skip

    @dg.multi_asset_check(name=f"backtests__{entry.name}_audit", specs=specs)
    def audit(
        context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> Iterator[dg.AssetCheckResult]:
        from fxgpt_pipeline.auditing import adherence, audit_family

        lineage = known(context, workspace)
        on = entry.name in lineage.families
        found = audit_family(lineage, entry.name) if on else {}
        found["fills_adhere"] = adherence(lineage, entry.name)["decision"]["evidence"]["alerts"] if on else []
        for name in _DESCRIPTIONS:
            yield _told(key, name, found.get(name, []), "All is right." if on else f"{entry.name} is switched off.")

    made: dg.AssetChecksDefinition = audit
    return made


def _replay_checks(parts: Parts) -> dg.AssetChecksDefinition:
    """Return the audits of a symbol's retraining backtests; nothing waits for them."""
    key = dg.AssetKey(RETRAINED)
    told = {name: said for name, said in _DESCRIPTIONS.items() if name != "fills_adhere"} | _REPLAYED
    specs = [dg.AssetCheckSpec(name, asset=key, description=said, partitions_def=parts.symbols) for name, said in
             told.items()]  # fmt: skip

    @dg.multi_asset_check(name="backtests__retrained_audit", specs=specs)
    def audit(
        context: dg.AssetCheckExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> Iterator[dg.AssetCheckResult]:
        from fxgpt_pipeline.auditing import audit_replay

        lineage = known(context, workspace)
        found = {name: audits for name in lineage.families if (audits := audit_replay(lineage, name)) is not None}
        right = f"All is right: {', '.join(found)}." if found else "No replay of these bars and settings is stored."
        for name in told:
            problems = [f"{family}: {said}" for family, audits in found.items() for said in audits[name]]
            yield _told(key, name, problems, right)

    made: dg.AssetChecksDefinition = audit
    return made


def _portfolio_checks() -> dg.AssetChecksDefinition:
    """Return the audits of the portfolio; nothing waits for them."""
    key = dg.AssetKey(PORTFOLIO)
    audits = {name: said for name, said in _DESCRIPTIONS.items() if name != "fills_adhere"}

    @dg.multi_asset_check(
        name="portfolio__audit", specs=[dg.AssetCheckSpec(name, asset=key, description=said) for name, said in
                                        audits.items()],
    )  # fmt: skip
    def audit(workspace: dg.ResourceParam[Workspace]) -> Iterator[dg.AssetCheckResult]:
        from fxgpt_pipeline.auditing import audit_portfolio

        found = audit_portfolio(workspace)
        for name in audits:
            yield _told(key, name, found.get(name, []), "All is right." if found else "No portfolio is stored.")

    made: dg.AssetChecksDefinition = audit
    return made


def _told(key: dg.AssetKey, name: str, problems: list[str], else_said: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN if name in _WARNS else dg.AssetCheckSeverity.ERROR,
        description=" ".join(problems) or else_said,
        metadata={"problems": problems},
    )
