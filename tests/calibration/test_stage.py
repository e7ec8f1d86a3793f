"""The calibration section of the configuration reaches the stored forecasts and the calibrator that goes live."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fxgpt_core.calibration.conformal import ConformalCalibrator
from fxgpt_core.evaluation.archive import CALIBRATED, read_span
from fxgpt_core.models.walk_forward import read_walk_forward
from fxgpt_pipeline.homes import prepare
from fxgpt_pipeline.stages import CANDLES, TABLES, TARGETS, calibrated, walk_forward
from tests.pipeline.small_home import SYMBOL, empty_home, quiet_bars

FAMILY = "seasonal_ewma"


def test_configured_method_calibrates_folds_and_the_calibrator_that_goes_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = empty_home(tmp_path).enter(monkeypatch)
    home.configure("features/default.yaml", {"groups": ["ohlc"]})
    home.configure("pipeline.yaml", {"calibration": {"method": "dtaci", "memory": 300}})
    home.bring(quiet_bars())
    prepare(home.lineage().workspace)
    outcome = home.materialise([CANDLES, TABLES, TARGETS, walk_forward(FAMILY), calibrated(FAMILY)])
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
