"""The calibration section of the configuration reaches the stored forecasts and the calibrator that goes live."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from dagster import AssetKey

from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.calibration.conformal import ConformalCalibrator
from fxgpt_core.calibration.labels import decision_labels, regime_of
from fxgpt_core.calibration.walk_forward import fit_final, walk_forward_calibration
from fxgpt_core.common.errors import DataError
from fxgpt_core.common.progress import silent
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.evaluation.archive import CALIBRATED, read_span
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import final_split
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.lifecycle.bundle import Bundle, Card
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.models.walk_forward import read_walk_forward
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.models import StateRow
from fxgpt_core.training.plan import TrainingPlan
from fxgpt_pipeline.cli.calibration_table import calibration_note, calibration_summaries, calibration_warnings
from fxgpt_pipeline.serving import forecast_now
from fxgpt_pipeline.stages import CANDLES, TABLES, TARGETS, calibrated
from fxgpt_pipeline.training import train_candidate
from tests.pipeline.small_home import SYMBOL, SmallHome, later_bars, shared_home

FAMILY = "seasonal_ewma"


def test_configured_method_calibrates_folds_and_the_calibrator_that_goes_live(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = shared_home(tmp_path_factory).clone(tmp_path / "home").enter(monkeypatch)
    home.configure("pipeline.yaml", {"calibration": {"method": "dtaci", "memory": 300, "warn_effective": 1e4}})
    outcome = home.materialise([calibrated(FAMILY)])
    assert outcome.success, outcome.error
    lineage = home.lineage()
    folds = read_span(lineage.workspace.lake, CALIBRATED, SYMBOL, FAMILY)
    assert folds.calibration_version[0].startswith("dtaci-cqr-")
    assert len(set(folds.calibration_version)) > len(folds) / 2, "the correction moves with the outcomes"
    document = lineage.workspace.documents.read(f"calibrator_{FAMILY}", SYMBOL)
    assert document is not None
    live = ConformalCalibrator.from_dict(document)
    assert live.tracker is not None
    assert live.tracker.memory == 300
    raw = read_walk_forward(lineage.workspace.lake, SYMBOL, FAMILY).forecast
    assert live.tracker.outcomes[0] > 0.9 * len(raw)
    last = raw.take(slice(-1, None))
    assert last.decided_at[0] == live.known_until, "nothing is left to learn"
    made = live.apply(last)
    assert (np.diff(made.quantiles, axis=-1) >= 0).all()
    assert made.calibration_version[0] == live.version
    assert_sizes_are_published(home, live)
    assert_live_forecasts_learn_on(home, live)


def assert_sizes_are_published(home: SmallHome, live: ConformalCalibrator) -> None:
    summary = calibration_summaries(home.lineage())[FAMILY]
    assert (summary["version"], summary["effective_rows"]) == (live.version, list(live.effective_rows))
    assert len(calibration_warnings({FAMILY: summary})) == 2
    assert f"worth {live.effective_rows[1]:.0f} independent" in calibration_warnings({FAMILY: summary})[1]
    assert f"4h: {live.effective_rows[1]:.0f}" in calibration_note({FAMILY: summary}, FAMILY, f"{live.version}+7")
    with home.instance() as instance:
        (record,) = instance.fetch_materializations(AssetKey(calibrated(FAMILY)), limit=1).records
    assert record.asset_materialization is not None
    shown = {name: found.value for name, found in record.asset_materialization.metadata.items()}
    assert shown["effective_calibration_rows"] == ", ".join(
        f"{horizon}: {size:.0f}" for horizon, size in zip(("1h", "4h"), live.effective_rows, strict=True)
    )
    assert "its coverage is uncertain" in str(shown["warnings"])


def assert_live_forecasts_learn_on(home: SmallHome, fitted: ConformalCalibrator) -> None:
    version, _ = train_candidate(home.lineage(), family(FAMILY), "run", silent)
    versions = []
    for new in (0, 30):
        if new:
            home.bring(later_bars(new))
            assert home.materialise([CANDLES, TABLES, TARGETS]).success
        lineage = home.lineage()
        made, _ = forecast_now(lineage, version)
        again, _ = forecast_now(lineage, version)
        np.testing.assert_array_equal(made.quantiles, again.quantiles)
        versions.append(made.calibration_version[0])
        learnt = sum(int(part) for part in versions[-1].partition("+")[2:] if part)
        assert versions[-1].startswith(fitted.version)
        assert learnt >= 2 * new - 4, "an outcome of both horizons with each bar, but for holes"
    assert len(set(versions)) == 2
    with lineage.workspace.database.reading() as session:
        rows = session.scalars(sa.select(StateRow).where(StateRow.version.contains(fitted.version))).all()
    assert [row.number for row in rows] == [1]
    assert to_datetime64(rows[-1].as_of) == made.decided_at[0]


@pytest.mark.parametrize("groups", ["regime", "session_regime"])
def test_walk_forward_final_and_live_forecasts_take_their_groups_from_one_function(groups: str) -> None:
    bars = simulate("EURUSD", "1h", start=np.datetime64("2024-01-01"), bars=1400, seed=3)
    spec = FeatureSpec(groups=("regime",))
    dataset = build_dataset(bars, (timeframe("1h"),), (60, 240), spec)
    entry, config = family(FAMILY), CalibrationConfig(method="mondrian", groups=groups, group_effective=20)
    model = entry.create(entry.config({}))
    model.fit(dataset.with_split(final_split(dataset, WalkForwardConfig())), TrainingPlan(1))
    rows, provenance = np.arange(600, 1400), Provenance("m", dataset.known_at[-1])
    model._trained_until = dataset.known_at[599]  # type: ignore[attr-defined]
    raw, outcomes = model.forecast(dataset, rows, provenance), Outcomes.from_dataset(dataset)
    labels = decision_labels(dataset, raw.decided_at, config.grouping)
    assert labels is not None
    made, _ = walk_forward_calibration(raw, outcomes, np.repeat([0, 1], [790, 10]), config, labels)
    past = outcomes.known_at(raw.decided_at[790])
    final = fit_final(raw.take(slice(0, 790)), past, config, labels[:790])
    assert final is not None
    assert final.groups is not None
    assert {name.rpartition("/")[2] for name in final.groups.names} > {"calm", "normal", "wild"} - {"normal"}
    assert len({tuple(final.groups.offsets[i, 0]) for i in range(len(final.groups.names))}) > 1
    card = Card("EURUSD", FAMILY, "f", "", ("1h",), (60, 240), "mid", {}, {}, dataset.definition_hash)
    live = Bundle(card, model, ConformalCalibrator.from_dict(json.loads(json.dumps(final.to_dict()))))
    for row in range(790, 800):
        one = live.forecast(dataset, rows[row : row + 1], provenance)
        np.testing.assert_array_equal(one.quantiles[0], made.quantiles[row - 790])


def test_regimes_are_those_of_the_features_and_missing_columns_are_named() -> None:
    bars = simulate("EURUSD", "1h", start=np.datetime64("2024-01-01"), bars=900, seed=3)
    dataset = build_dataset(bars, (timeframe("1h"),), (60,), FeatureSpec(groups=("regime",)))
    found, table = regime_of(dataset), dataset.tables["1h"]
    calm, wild = (table.values[:, table.names.index(f"regime_{name}_1h")] for name in ("calm", "wild"))
    assert (found[np.isnan(calm)] == "unknown").all()
    assert (found[calm > 0.5] == "calm").all()
    assert (found[wild > 0.5] == "wild").all()
    assert (found[(calm < 0.3) & (wild < 0.3)] == "normal").all()
    assert {"unknown", "calm", "normal", "wild"} == set(found)
    assert decision_labels(dataset, dataset.known_at, "session") is None
    with pytest.raises(DataError, match="are no closes of its 900 1h bars"):
        decision_labels(dataset, dataset.known_at[-1:] + np.timedelta64(1, "h"), "regime")
    plain = build_dataset(bars, (timeframe("1h"),), (60,), FeatureSpec(groups=("ohlc",)))
    with pytest.raises(DataError, match="switch the feature group `regime` on"):
        decision_labels(plain, plain.known_at, "session_regime")
