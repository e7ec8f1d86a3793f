"""What the command line runs, of a pair whose bars a provider has."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from dagster import AssetKey, AssetRecordsFilter, DagsterInstance

from fxgpt_core.store.clock import FixedClock
from fxgpt_core.store.paths import CHECKOUT, Home
from fxgpt_pipeline.cli.running import run_stages
from fxgpt_pipeline.homes import prepare
from fxgpt_pipeline.rehearsal.script import PARTS, Script
from fxgpt_pipeline.stages import CANDLES, Key, candidate
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import SmallHome


def test_what_waiting_bars_make_stale_is_known_when_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new bar alone makes nothing but candles stale until it is fetched; then all that stands on it is made again."""
    home = SmallHome(tmp_path)
    script = Script(days=3, history_days=120, happens_after=1, parts=PARTS[:1], families=("ewma",))
    script.write(CHECKOUT / "configs", home.configs)
    home.enter(monkeypatch)
    clock = FixedClock(script.begin)
    workspace = Workspace(Home(home.home.root), home.configs, clock)
    prepare(workspace)
    for times in (1, 2):
        lineage = workspace.lineage(PARTS[0].symbol)
        assert run_stages(workspace, lineage, list(lineage.stages)) == ""
        assert (made(CANDLES), made(candidate("ewma"))) == (times, times)
        clock.advance(timedelta(hours=2))


def made(key: Key) -> int:
    """Return how often a stage has been materialised."""
    with DagsterInstance.get() as instance:
        return len(instance.fetch_materializations(AssetRecordsFilter(AssetKey(key)), limit=10).records)
