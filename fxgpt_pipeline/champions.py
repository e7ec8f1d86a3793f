"""What a person does with the champion of a symbol: put another one there, or bring the last one back."""

from __future__ import annotations

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.lifecycle.promotion import promote, rollback
from fxgpt_core.lifecycle.registry import ModelVersion
from fxgpt_core.policy.decision import Decision
from fxgpt_core.store.clock import to_datetime64
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.serving import resolve, smoke_forecast


def promote_by_hand(lineage: Lineage, model: str, reason: str) -> ModelVersion:
    """Make `model` (alias, family or version) champion after it has forecast; the old champion becomes `previous`."""
    workspace, chosen, now = lineage.workspace, resolve(lineage, model), lineage.workspace.clock.now()
    reasons = (f"Promoted by a person: {_given(reason)}",)
    decision = Decision(lineage.symbol, "champion", reasons, to_datetime64(now))
    promote(
        workspace.registry, workspace.database, chosen, decision, now, lambda bundle: smoke_forecast(lineage, bundle)
    )
    return chosen


def roll_back(lineage: Lineage, reason: str) -> ModelVersion:
    """Make the previous champion champion again, and return it; raises BadInputError where there is none."""
    workspace = lineage.workspace
    return rollback(
        workspace.registry,
        workspace.database,
        lineage.symbol,
        workspace.clock.now(),
        lambda bundle: smoke_forecast(lineage, bundle),
        reason.strip(),
    )


def _given(reason: str) -> str:
    if not reason.strip():
        raise BadInputError("A promotion needs a reason: say in a few words why.")
    return reason.strip()
