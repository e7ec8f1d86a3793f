"""Keeping the operational database small: old live forecasts move to the lake."""

from __future__ import annotations

from datetime import timedelta

from fxgpt_pipeline.settings import load_settings
from fxgpt_pipeline.workspace import Workspace


def archive_old_forecasts(workspace: Workspace) -> int:
    """Move forecasts older than `automation.forecast_days` to the lake; returns how many rows moved.

    Their outcomes are deleted: the candles of the lake say the same.
    """
    from fxgpt_core.lifecycle.forecast_archive import archive_forecasts
    from fxgpt_core.store.live_log import forget_outcomes

    until = workspace.clock.now() - timedelta(days=load_settings(workspace.config_dir).automation.forecast_days)
    moved = archive_forecasts(workspace.database, workspace.lake, until)
    forget_outcomes(workspace.database, until)
    return moved
