"""The code location: it loads fast and light, and every definition says what it is."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fxgpt_core.features.registry import declarations_hash
from fxgpt_core.models.registry import FAMILIES
from fxgpt_core.store.paths import Home
from fxgpt_pipeline.definitions import build_definitions
from fxgpt_pipeline.defs.common import PROMOTION_POOL
from fxgpt_pipeline.runs import LINEAGE_JOB
from fxgpt_pipeline.stages import (
    CANDLES,
    DASHBOARD,
    LEADERBOARD,
    PERFORMANCE,
    PORTFOLIO,
    RETRAINED,
    SHADOW,
    TABLES,
    TRAINING_POOL,
    build_stages,
    candidate,
    groundwork,
    walk_forward,
)
from fxgpt_pipeline.workspace import Workspace
from tests.pipeline.small_home import SYMBOL, empty_home

SNAPSHOT = Path(__file__).with_name("definitions.txt")
REFRESH = "FXGPT_REFRESH_SNAPSHOT=1 python -m pytest tests/pipeline/test_definitions.py"
HEAVY = ("torch", "lightning", "mlflow", "evidently", "alibi_detect", "lightgbm", "sklearn", "transformers")
DAGSTER_SECONDS = 0.55  # what importing Dagster alone takes where the limit was set
LOAD = f"""
import json, sys, time
import dagster
dagster_seconds = time.process_time()
from fxgpt_pipeline.definitions import defs
definitions = defs()
getattr(definitions, "resolve_all_asset_specs", lambda: None)()
seconds = time.process_time()  # not wall time: what else runs on the machine must not count
heavy = sorted(set({HEAVY!r}) & set(sys.modules))
print(json.dumps({{"dagster": dagster_seconds, "seconds": seconds, "heavy": heavy}}))
"""


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    home = empty_home(tmp_path_factory.mktemp("definitions"))
    home.configure("assets/USDJPY.yaml", {"symbol": "USDJPY", "timeframes": ["1h"], "horizons": ["1h"]})
    home.configure(
        "assets/EURUSD.yaml", {"symbol": "EURUSD", "enabled": False, "timeframes": ["1h"], "horizons": ["1h"]}
    )
    return build_definitions(Workspace(Home(home.home.root), home.configs))


@pytest.fixture(scope="module")
def graph(definitions: dg.Definitions) -> Any:
    return definitions.resolve_asset_graph()


@pytest.fixture(scope="module")
def nodes(graph: Any) -> list[Any]:
    return [graph.get(key) for key in sorted(graph.get_all_asset_keys(), key=lambda key: key.to_user_string())]


def test_location_loads_light_and_fast(tmp_path: Path) -> None:
    """Within 3 s, on a machine that imports Dagster in the usual time: imports read thousands of files and may have to
    compile them, so that arithmetic says little about how fast a machine is at them, and another import says all."""
    home = empty_home(tmp_path)
    seconds = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", LOAD], env=home.subprocess_environment(), capture_output=True, text=True, check=True
        )
        answer = json.loads(done.stdout.splitlines()[-1])
        assert answer["heavy"] == []
        seconds.append(answer["seconds"] / max(1.0, answer["dagster"] / DAGSTER_SECONDS))
        if seconds[-1] < 3:
            break
    assert min(seconds) < 3, f"loading took {seconds} s, on a machine of usual speed"
    assert not home.home.root.exists(), "loading definitions must write nothing"


def test_every_asset_says_what_it_is(nodes: list[Any]) -> None:
    for node in nodes:
        where = node.key.to_user_string()
        assert node.group_name == node.key.path[0], where
        assert node.owners, where
        assert node.kinds, where
        assert len(node.description) > 40, where
        assert node.code_version, where
        if tuple(node.key.path) in (LEADERBOARD, DASHBOARD, PORTFOLIO):  # over all symbols
            assert node.partitions_def is None
        else:
            assert node.partitions_def.get_partition_keys() == [SYMBOL, "USDJPY"], where


def test_every_check_is_partitioned_as_its_asset(definitions: dg.Definitions, graph: Any) -> None:
    specs = [spec for check in definitions.asset_checks or [] for spec in check.check_specs]
    assert len(specs) >= 5
    for spec in specs:
        whole = spec.asset_key == dg.AssetKey(PORTFOLIO)
        keys = None if spec.partitions_def is None else spec.partitions_def.get_partition_keys()
        assert keys == (None if whole else [SYMBOL, "USDJPY"]), spec.name
        assert spec.description, spec.name
    layer = definitions.resolve_job_def(LINEAGE_JOB).asset_layer  # of one symbol: it cannot run what has none
    assert not [key for key in layer.asset_graph.asset_check_keys if key.asset_key == dg.AssetKey(PORTFOLIO)]


def test_stages_name_exactly_the_blocking_checks(definitions: dg.Definitions) -> None:
    blocking = {
        (spec.asset_key.to_user_string(), spec.name)
        for check in definitions.asset_checks or []
        for spec in check.check_specs
        if spec.blocking
    }
    assert blocking == {(stage.name, gate) for stage in build_stages(FAMILIES).values() for gate in stage.gates}


OUTSIDE = {LEADERBOARD, DASHBOARD, PORTFOLIO, RETRAINED, PERFORMANCE, SHADOW}


def test_assets_are_the_stages(graph: Any) -> None:
    stages = build_stages(FAMILIES)
    assert {tuple(key.path) for key in graph.get_all_asset_keys()} == {*stages, *OUTSIDE}
    for key, stage in stages.items():
        node = graph.get(dg.AssetKey(key))
        assert {tuple(parent.path) for parent in node.parent_keys} == set(stage.deps), stage.name
        declared = f".{declarations_hash()}" if stage.key == TABLES else ""
        assert node.code_version == stage.code_version + declared, stage.name
    assert [key for key, stage in stages.items() if not stage.deps] == [CANDLES]


def test_training_and_promotion_happen_in_pools(nodes: list[Any]) -> None:
    pools = {key: TRAINING_POOL for family in FAMILIES for key in (walk_forward(family), candidate(family))}
    pools |= {groundwork(name, part.name): TRAINING_POOL for name in FAMILIES for part in FAMILIES[name].groundwork}
    pools |= {RETRAINED: TRAINING_POOL, SHADOW: PROMOTION_POOL}
    for node in nodes:
        found = pools.get(tuple(node.key.path))
        assert node.pools == ({found} if found else set()), node.key


def test_asset_bodies_are_short(definitions: dg.Definitions) -> None:
    lengths = {}
    for made in [*(definitions.assets or []), *(definitions.asset_checks or [])]:
        body = made.op.compute_fn.decorated_fn
        lines, _ = inspect.getsourcelines(body)
        lengths[made.op.name] = len(lines) - next(i for i, line in enumerate(lines) if line.lstrip().startswith("def "))
    assert len(lengths) > len(FAMILIES) * 4
    assert {name: length for name, length in lengths.items() if length >= 30} == {}


def test_definitions_are_the_recorded_ones(definitions: dg.Definitions, nodes: list[Any]) -> None:
    found = "\n".join(snapshot(definitions, nodes)) + "\n"
    if os.environ.get("FXGPT_REFRESH_SNAPSHOT"):
        SNAPSHOT.write_text(found)
    assert found == SNAPSHOT.read_text(), f"If the change is meant: {REFRESH}"


def snapshot(definitions: dg.Definitions, nodes: list[Any]) -> Iterator[str]:
    """Assets with their dependencies, checks, jobs, schedules and sensors, one a line."""
    for node in nodes:
        deps = ", ".join(sorted(parent.to_user_string() for parent in node.parent_keys))
        yield f"asset {node.key.to_user_string()} <- {deps or 'nothing'}"
    for check in definitions.asset_checks or []:
        for spec in check.check_specs:
            yield f"check {spec.asset_key.to_user_string()}:{spec.name}{' (blocking)' if spec.blocking else ''}"
    repository = definitions.get_repository_def()
    for name in ("lineage", "retrain"):
        job = repository.get_job(name)
        yield f"job {name}: " + ", ".join(sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys))
    for schedule in sorted(repository.schedule_defs, key=lambda s: s.name):
        yield f"schedule {schedule.name} {schedule.cron_schedule} {schedule.execution_timezone} -> {schedule.job_name}"
    for sensor in sorted(repository.sensor_defs, key=lambda s: s.name):
        yield f"sensor {sensor.name} {sensor.sensor_type.value} {sensor.default_status.value}"
