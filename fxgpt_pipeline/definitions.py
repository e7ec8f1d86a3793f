"""The Dagster code location: everything is built by one function, so that tests can build it over their own home."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import dagster as dg

from fxgpt_core.models.registry import FAMILIES
from fxgpt_pipeline.defs import (
    alerting,
    automation,
    backtest_checks,
    backtests,
    calibration,
    champions,
    evaluation,
    features,
    ingestion,
    lifecycle,
    live,
    market,
    models,
    monitoring,
    performance,
    portfolio,
    reports,
    retrained,
    shadows,
    upkeep,
)
from fxgpt_pipeline.defs.common import Parts
from fxgpt_pipeline.stages import build_stages
from fxgpt_pipeline.workspace import Workspace


def build_definitions(workspace: Workspace | None = None, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return all definitions over `workspace` (default: the environment's).

    `resources` replaces resources by name; tests use it. Symbols are the files of `configs/assets/`: a new file is a
    new partition after a reload.
    """
    space = workspace or Workspace.from_environment()
    for problem in space.asset_problems:  # its pair is left out, the others must go on
        logging.getLogger("fxgpt").error("%s Until it is mended the pair is left out.", problem)
    enabled = sorted(symbol for symbol, asset in space.assets.items() if asset.enabled)
    parts = Parts(dg.StaticPartitionsDefinition(enabled), build_stages(FAMILIES), space)
    concerns = (
        market, features, models, calibration, evaluation, backtests, backtest_checks, retrained, monitoring,
        performance, lifecycle, shadows, portfolio, reports,
    )  # fmt: skip
    assets: list[Any] = []
    checks: list[Any] = []
    for concern in concerns:
        for made in concern.build(parts):
            (checks if isinstance(made, dg.AssetChecksDefinition) else assets).append(made)
    automated = (
        automation.build(parts),
        ingestion.build(parts),
        alerting.build(parts),
        live.build(parts),
        performance.automate(parts),
        shadows.automate(parts),
        upkeep.build(parts),
        champions.build(),
    )
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=[job for made in automated for job in made.jobs],
        schedules=[schedule for made in automated for schedule in made.schedules],
        sensors=[sensor for made in automated for sensor in made.sensors],
        resources={"workspace": space, **(resources or {})},
        # One symbol's lineage is one run in one process: spawned steps would import everything again.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads: the definitions over the environment's workspace."""
    return build_definitions()
