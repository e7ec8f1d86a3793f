"""One symbol's lineage as runs: what is stale, what blocks, what carries on, who serves."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dagster import DagsterRunStatus

import fxgpt_pipeline.serving as serving
from fxgpt_core.common.errors import BadInputError, StoreError
from fxgpt_core.lifecycle.bundle import load_bundle
from fxgpt_core.lifecycle.live import forecast_latest
from fxgpt_core.lifecycle.promotion import promote, rollback
from fxgpt_core.lifecycle.registry import CHAMPION, PREVIOUS, SHADOW
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.registry import FAMILIES as ENTRIES
from fxgpt_core.models.walk_forward import DATASET as WALK_FORWARD
from fxgpt_core.policy.decision import Decision
from fxgpt_core.store.clock import FixedClock, to_datetime64
from fxgpt_pipeline.runs import close_dead_runs, stale_stages, with_stale_ancestors
from fxgpt_pipeline.serving import forecast_now, smoke_forecast
from fxgpt_pipeline.stages import SCORES, Key, backtest, calibrated, candidate, walk_forward
from tests.pipeline.small_home import ASSET, FAMILIES, SYMBOL, SmallHome, later_bars

NOW = datetime(2024, 7, 1, 12, tzinfo=UTC)
LAST = {"lifecycle/champion", "reports/overview"}


def names(*keys: Key) -> set[str]:
    """Stage names as `stale` gives them."""
    return {"/".join(key) for key in keys}


def chain(*families: str) -> set[str]:
    """Every stage that belongs to the given families."""
    return names(*(key(family) for family in families for key in (walk_forward, calibrated, backtest, candidate)))


def aliases(home: SmallHome) -> dict[str, str]:
    """Which version carries which alias."""
    versions = home.lineage().workspace.registry.versions(SYMBOL)
    return {alias: version.version for version in versions for alias in version.aliases}


def test_every_stage_succeeds_and_is_recorded(base: SmallHome) -> None:
    assert base.made() == dict.fromkeys(base.made(), 1)
    lineage = base.lineage()
    assert {version.family for version in lineage.workspace.registry.versions(SYMBOL)} == set(FAMILIES)
    assert aliases(base).keys() == {CHAMPION}
    assert (base.home.reports / SYMBOL / "overview.html").stat().st_size > 10_000


def test_again_finds_nothing_to_do(base: SmallHome) -> None:
    assert base.stale() == set()
    with pytest.raises(BadInputError, match="selection is empty"):
        base.materialise()


@pytest.mark.parametrize(
    ("file", "values", "expected"),
    [
        ("pipeline.yaml", {"gate": {"p_value": 0.01}}, LAST),
        ("pipeline.yaml", {"evaluation": {"confidence": 0.9}}, {"evaluation/scores"} | LAST),
        ("pipeline.yaml", {"drift": {"window_days": 14}}, {"monitoring/drift", "reports/overview"}),
        (
            "pipeline.yaml",
            {"calibration": {"min_rows": 120}},
            chain(*FAMILIES) - {f"walk_forward/{f}" for f in FAMILIES} | {"evaluation/scores"} | LAST,
        ),
        ("ridge/default.yaml", {"evidence_errors": 0.6}, chain("ridge") | {"evaluation/scores"} | LAST),
        ("pipeline.yaml", {"seed": 7}, chain(*FAMILIES) | {"evaluation/scores", "monitoring/drift"} | LAST),
        (f"assets/{SYMBOL}.yaml", {"costs": {"spread_pips": 3.0}}, {f"backtests/{f}" for f in FAMILIES} | LAST),
        ("instruments.yaml", {"interest": {"markup": 2.0}}, {f"backtests/{f}" for f in FAMILIES} | LAST),
        (
            f"assets/{SYMBOL}.yaml",
            {
                "acknowledged_alarms": [
                    {"alarm": f"{SYMBOL}-ridge-1h-skill", "up_to": 0.1, "reason": "known to be real"}
                ]
            },
            {"evaluation/scores"} | LAST,
        ),
        ("pipeline.yaml", {"automation": {"verdict_interval_seconds": 60}}, set()),
        ("pipeline.yaml", {"retraining": {"every_days": 7}}, set()),
        (f"assets/{SYMBOL}.yaml", {"retraining_cron": "0 4 * * *"}, set()),
    ],
    ids=lambda value: "" if isinstance(value, set) else str(value),
)
def test_setting_makes_exactly_its_dependents_stale(
    base: SmallHome, tmp_path: Path, file: str, values: dict[str, Any], expected: set[str]
) -> None:
    shutil.copytree(base.configs, tmp_path / "configs")
    SmallHome(tmp_path).configure(file, values)
    assert base.stale(tmp_path / "configs") == expected


def test_deleted_result_is_stale(clone: SmallHome) -> None:
    lake = clone.home.lake
    for pattern, stage in {
        "documents/evaluation/*/document.json": "evaluation/scores",
        "documents/drift/*/document.json": "monitoring/drift",
        "documents/backtest_ridge/*/document.json": "backtests/ridge",
        "features/symbol=GBPUSD/timeframe=4h/manifest.json": "features/tables",
        "walk_forward/symbol=GBPUSD/family=ewma/manifest.json": "walk_forward/ewma",
        "calibrated/symbol=GBPUSD/family=ewma/manifest.json": "calibration/ewma",
    }.items():
        (found,) = lake.glob(pattern)
        content = found.read_bytes()
        found.unlink()
        assert clone.stale() == {stage}
        found.write_bytes(content)
    assert clone.stale() == set()


def test_bad_data_block_what_comes_after(clone: SmallHome) -> None:
    clone.configure("pipeline.yaml", {"quality": {"max_missing_share": 0.0001}})
    before = clone.made()
    outcome = clone.materialise()
    assert not outcome.success
    assert outcome.error.startswith("market/candles: the check data_quality failed: ")
    assert "missing" in outcome.error
    assert clone.made() == before | {"market/candles": 2}
    assert not clone.materialise().success, "asking twice must not get around the check"
    assert clone.made()["features/tables"] == 1


def test_failed_run_carries_on_where_it_failed(clone: SmallHome, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.configure("pipeline.yaml", {"evaluation": {"confidence": 0.9}})
    before = clone.made()

    def broken(*_: object, **__: object) -> None:
        raise StoreError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(serving, "settle", broken)
        outcome = clone.materialise()
    assert not outcome.success
    assert outcome.error == "lifecycle__champion: The disk is full."
    assert clone.stale() == LAST
    assert clone.materialise().success
    assert clone.made() == before | {"evaluation/scores": 2, "lifecycle/champion": 2, "reports/overview": 2}


@pytest.mark.services
def test_killed_run_carries_on_at_its_fold(clone: SmallHome) -> None:
    clone.configure("ridge/default.yaml", {"evidence_errors": 0.6})
    before, lineage = clone.made(), clone.lineage()
    wanted = lineage.fingerprint(walk_forward("ridge"))
    command = [sys.executable, "-m", "fxgpt_pipeline.cli.main", "materialize", "--symbol", SYMBOL]
    process = subprocess.Popen(
        command, env=clone.subprocess_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        deadline, done = time.monotonic() + 600, False
        while not done:
            assert time.monotonic() < deadline, "no fold was finished"
            assert process.poll() is None, process.communicate()[0]
            manifest = lineage.workspace.lake.read_manifest(WALK_FORWARD, {"symbol": SYMBOL, "family": "ridge"})
            done = manifest is not None and manifest.fingerprint == wanted and manifest.extra["folds"] == ["fold0"]
            time.sleep(0.01)
        with clone.instance() as instance:
            assert close_dead_runs(instance) == [], "a living run must be left alone"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    first = clone.home.lake / "walk_forward" / f"symbol={SYMBOL}" / "family=ridge" / "fold=fold0" / "part.parquet"
    written = first.stat().st_mtime_ns

    with clone.instance() as instance:
        (closed,) = close_dead_runs(instance)
        run = instance.get_run_by_id(closed)
        assert run is not None
        assert run.status == DagsterRunStatus.FAILURE
    assert clone.made() == before, "it was killed inside its first stage"
    assert clone.materialise().success
    assert first.stat().st_mtime_ns == written, "the finished fold is kept"
    assert clone.stale() == set()
    prints = [v.tags["fingerprint"] for v in lineage.workspace.registry.versions(SYMBOL)]
    assert len(prints) == len(set(prints)) == len(FAMILIES) + 1


def test_repeated_training_makes_no_second_version(clone: SmallHome) -> None:
    outcome = clone.materialise([candidate("ewma")])
    assert outcome.success, outcome.error
    assert len(clone.lineage().workspace.registry.versions(SYMBOL)) == len(FAMILIES)


def test_family_can_be_switched_off(clone: SmallHome) -> None:
    path = clone.configs / "assets" / f"{SYMBOL}.yaml"
    path.write_text(json.dumps({**ASSET, "models": {"ewma": {}, "seasonal_ewma": {}}}))
    assert clone.stale() == {"evaluation/scores"} | LAST
    outcome = clone.materialise()
    assert outcome.success, outcome.error
    evaluation = clone.lineage().workspace.documents.read("evaluation", SYMBOL)
    assert "ridge" not in json.dumps(evaluation)


def test_new_bars_bring_a_shadow_that_can_be_promoted_and_rolled_back(clone: SmallHome) -> None:
    before, count = aliases(clone), len(FAMILIES)
    clone.bring(later_bars(200))
    outcome = clone.materialise()
    assert outcome.success, outcome.error
    workspace, lineage = clone.lineage().workspace, clone.lineage()
    registry, database = workspace.registry, workspace.database
    versions = registry.versions(SYMBOL)
    assert len(versions) == 2 * count
    after = aliases(clone)
    assert after[CHAMPION] == before[CHAMPION]
    assert int(after[SHADOW]) > count
    champion, shadow = registry.get(SYMBOL, after[CHAMPION]), registry.get(SYMBOL, after[SHADOW])
    assert np.datetime64(shadow.tags["trained_until"]) > np.datetime64(champion.tags["trained_until"])

    def smoke(bundle: Any) -> object:
        return smoke_forecast(lineage, bundle)

    def failing(_: Any) -> object:
        raise StoreError("no forecast")

    decision = Decision(SYMBOL, "champion", ("a test",), to_datetime64(NOW))
    with pytest.raises(StoreError, match="no forecast"):
        promote(registry, database, shadow, decision, NOW, failing)
    assert aliases(clone) == after
    promote(registry, database, shadow, decision, NOW, smoke)
    assert aliases(clone) == {CHAMPION: after[SHADOW], PREVIOUS: after[CHAMPION]}
    rollback(registry, database, SYMBOL, NOW, smoke)
    assert aliases(clone) == {CHAMPION: after[CHAMPION], PREVIOUS: after[SHADOW]}


def test_families_of_equal_settings_are_told_apart(clone: SmallHome) -> None:
    path = clone.configs / "assets" / f"{SYMBOL}.yaml"
    models = {"climatology": {}, "filtered_historical": {}, "seasonal_ewma": {}}  # none of them has any setting
    path.write_text(json.dumps({**ASSET, "models": models}))
    lineage = clone.lineage()
    found = [lineage.fingerprint(key) for key in lineage.stages]
    assert len(set(found)) == len(found)


def test_damaged_model_is_refused_and_the_champion_stays(clone: SmallHome) -> None:
    lineage = clone.lineage()
    registry, before = lineage.workspace.registry, aliases(clone)
    other = next(v for v in registry.versions(SYMBOL) if v.version != before[CHAMPION])
    damaged = next(f for f in registry.folder(other).rglob("*") if f.is_file() and f.parent.name == "forecaster")
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"#")
    decision = Decision(SYMBOL, "champion", ("a test",), to_datetime64(NOW))
    with pytest.raises(StoreError, match="damaged"):
        promote(registry, lineage.workspace.database, other, decision, NOW, lambda _: None)
    assert aliases(clone) == before


@pytest.mark.parametrize("family", FAMILIES)
def test_registered_model_forecasts_like_the_one_that_was_fitted(base: SmallHome, family: str) -> None:
    """Fitting again, with the same seed, on the same data: what was stored must say the same."""
    from fxgpt_core.evaluation.splits import final_split
    from fxgpt_core.training.plan import plan_training

    lineage = base.lineage()
    version = next(v for v in lineage.workspace.registry.versions(SYMBOL) if v.family == family)
    bundle = load_bundle(lineage.workspace.registry.folder(version))
    dataset, provenance = lineage.dataset(), Provenance("test", to_datetime64(NOW), "live")
    fitted = ENTRIES[family].create(lineage.family_config(family))
    split = final_split(dataset, lineage.settings.walk_forward)
    fitted.fit(dataset.with_split(split), plan_training(lineage.settings.seed, None, accelerated=False), _silent)
    rows = np.array([len(dataset) - 1])
    raw = fitted.forecast(dataset, rows, provenance, lineage.settings.seed)
    expected = raw if bundle.calibrator is None else bundle.calibrator.apply(raw)
    got = forecast_latest(bundle, dataset, provenance, lineage.settings.seed)
    np.testing.assert_array_equal(got.quantiles, expected.quantiles)


def test_pyfunc_says_from_raw_candles_what_the_lineage_says(base: SmallHome) -> None:
    import mlflow

    lineage = base.lineage(FixedClock(NOW))
    version = serving.resolve(lineage, "ridge")
    expected, _ = forecast_now(lineage, version)
    model = mlflow.pyfunc.load_model(f"models:/fxgpt.{SYMBOL}/{version.version}")
    frame = lineage.candles().to_frame().reset_index()
    frame["ts_utc"] = [stamp.isoformat() for stamp in frame["ts_utc"]]
    columns = ["ts_utc", "open", "high", "low", "close", "volume"]
    got = model.predict(frame[columns], params={"seed": lineage.settings.seed})
    wanted = expected.to_frame()
    levels = [name for name in wanted.columns if name.startswith("q")]
    assert len(levels) >= 15
    np.testing.assert_array_equal(got[levels].to_numpy(), wanted[levels].to_numpy())
    assert list(got["horizon"]) == [60, 240]
    assert set(got["calibration_state"]) == {"as registered"}
    assert got["calibration_known_until"].iloc[0] == f"{expected.decided_at[0]}Z", "the last bar's own outcome"


def _silent(*_: object) -> None:
    pass


def test_a_stage_refuses_inputs_that_are_out_of_date(clone: SmallHome) -> None:
    clone.configure("pipeline.yaml", {"walk_forward": {"folds": 3}})
    before = clone.made()
    outcome = clone.materialise([SCORES])
    assert not outcome.success
    assert "calibration/ewma" in outcome.error
    assert clone.made() == before
    lineage = clone.lineage()
    with clone.instance() as instance:
        todo = with_stale_ancestors(lineage, [SCORES], stale_stages(lineage, instance))
    assert {walk_forward("ridge"), calibrated("ridge"), SCORES} <= set(todo)


def test_a_champion_of_another_layout_still_forecasts(clone: SmallHome) -> None:
    before = aliases(clone)
    clone.configure("features/default.yaml", {"parameters": {"rsi": {"period": 10}}})
    outcome = clone.materialise()
    assert outcome.success, outcome.error
    assert aliases(clone)[CHAMPION] == before[CHAMPION]
    assert clone.stale() == set()


def test_a_lost_part_makes_its_stage_stale(clone: SmallHome) -> None:
    month = sorted(clone.home.lake.glob("features/symbol=GBPUSD/timeframe=4h/month=*"))[0]
    shutil.rmtree(month)
    assert clone.stale() == {"features/tables"}


def test_a_new_model_on_the_same_bars_enters_as_shadow(clone: SmallHome) -> None:
    before = aliases(clone)
    clone.configure(f"assets/{SYMBOL}.yaml", {"models": {"ridge": {"evidence_errors": 0.1}}})
    outcome = clone.materialise()
    assert outcome.success, outcome.error
    after = aliases(clone)
    assert after[CHAMPION] == before[CHAMPION]
    assert SHADOW in after


def test_a_changed_indicator_definition_makes_features_stale(base: SmallHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fxgpt_core.features.spec.LAYOUT", 99)
    assert {"features/tables", "features/targets", "walk_forward/ridge"} <= base.stale()
