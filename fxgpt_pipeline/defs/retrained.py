"""The retraining backtest: one asset a symbol, outside its lineage."""

from typing import Any

import dagster as dg
from pydantic import Field

from fxgpt_pipeline.defs.common import OWNERS, Parts, known, reporter
from fxgpt_pipeline.stages import CANDLES, RETRAINED, TABLES, TARGETS, TRAINING_POOL
from fxgpt_pipeline.workspace import Workspace


class ReplayRunConfig(dg.Config):
    """What the launchpad asks of a retraining backtest; everything that decides its result is configuration."""

    families: list[str] = Field(
        default_factory=list,
        description="Models to replay, such as [ridge]; left empty, those of retraining.replay.families.",
    )


def build(parts: Parts) -> list[Any]:
    """Return the retraining backtest."""

    @dg.asset(
        key=dg.AssetKey(RETRAINED),
        deps=[dg.AssetKey(key) for key in (CANDLES, TABLES, TARGETS)],
        partitions_def=parts.symbols,
        group_name=RETRAINED[0],
        code_version="1",
        owners=OWNERS,
        kinds={"python", "parquet"},
        pool=TRAINING_POOL,
        description="The retraining rule replayed along history, as it would have run live: it decides, trains on what "
        "was known, calibrates and forecasts on. Traded and scored beside the fixed folds. Made when asked for; "
        "finished versions are kept, so an interrupted run carries on.",
    )
    def retrained(
        context: dg.AssetExecutionContext, config: ReplayRunConfig, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult[Any]:
        from fxgpt_pipeline.replaying import replay_families

        lineage = known(context, workspace)
        families = tuple(config.families) or lineage.settings.retraining.replay.families
        facts, version = replay_families(lineage, families, reporter(context, workspace))
        metadata = {name: dg.MetadataValue.json(fact) for name, fact in facts.items()}
        return dg.MaterializeResult(metadata={"models": ", ".join(families) or "none is asked for", **metadata},
                                    data_version=dg.DataVersion(version))  # fmt: skip

    return [retrained]
