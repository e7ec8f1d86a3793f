"""Who serves: the gate, and the champion and shadow aliases."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from fxgpt_pipeline.defs.common import PROMOTION_POOL, Parts, begin, finished
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
        pool=PROMOTION_POOL,
    )
    def champion(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.serving import settle_symbol

        lineage = begin(context, workspace, CHAMPION)
        seconds, now = context.instance.get_run_stats(context.run_id).start_time, workspace.clock.now()
        # Dagster counts wall time; on a clock that is set a run takes none.
        started = min(datetime.fromtimestamp(seconds, UTC), now) if seconds else now
        value = settle_symbol(lineage, context.run_id, context.run_tags.get(CAUSE_TAG, ""), started)
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
