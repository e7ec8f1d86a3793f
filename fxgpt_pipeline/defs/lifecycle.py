"""Who serves: the gate, and the champion and shadow aliases."""

from typing import Any

import dagster as dg

from fxgpt_pipeline.defs.common import Parts, began, begin, finished
from fxgpt_pipeline.runs import CAUSE_TAG
from fxgpt_pipeline.stages import CHAMPION
from fxgpt_pipeline.workspace import Workspace


def build(parts: Parts) -> list[Any]:
    """Return the champion asset."""

    @parts.asset(
        CHAMPION,
        description="The gate: without a champion, the best model that passes becomes champion, else the best "
        "baseline. With one, the best new candidate enters as shadow and nothing else changes.",
        kinds={"mlflow"},
        # In no pool: a pool counts whole runs here, and shadows must not wait for a training to end. That one process
        # at a time moves aliases is held by `lifecycle.alias_moves`, whoever asks.
    )
    def champion(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.serving import settle_symbol

        lineage = begin(context, workspace, CHAMPION)
        cause = context.run_tags.get(CAUSE_TAG, "")
        value = settle_symbol(lineage, context.run_id, cause, began(context, workspace))
        return finished(
            lineage,
            CHAMPION,
            {
                "champion": value["champion"],
                "champion_family": value["champion_family"],
                "shadow": value["shadow"],
                "decision": value["decision"]["what"],
                "reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in value["decision"]["reasons"])),
            },
        )

    return [champion]
