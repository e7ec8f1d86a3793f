"""Settings that contradict each other are refused when they are read, not after the training that they steer."""

from __future__ import annotations

from pathlib import Path

import pytest

from fxgpt_core.common.errors import ConfigError
from fxgpt_core.store.asset_config import AssetConfig
from fxgpt_pipeline.settings import load_settings


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("gate: {coverage: 0.95}", r"gate\.coverage 0\.95 is not among evaluation\.coverages \(0\.5, 0\.8, 0\.9\)"),
        ("evaluation: {coverages: [0.5, 0.8]}", r"coverages \(0\.5, 0\.8\) must hold 0\.9"),
    ],
)
def test_a_coverage_that_is_not_evaluated_is_asked_for_by_nobody(section: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(f"{section}\n")
    with pytest.raises(ConfigError, match=message):
        load_settings(tmp_path)


def test_weights_must_be_as_many_as_the_pair_has_horizons(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("evaluation: {horizon_weights: [3, 2, 1]}\n")
    three, two = (
        AssetConfig(symbol="EURUSD", timeframes=("1h",), horizons=horizons)
        for horizons in (("1h", "4h", "1d"), ("1h", "4h"))
    )
    assert load_settings(tmp_path, three).evaluation.weights(3) == (0.5, 1 / 3, 1 / 6)
    with pytest.raises(ConfigError, match=r"horizon_weights has 3 entries for 2 horizons of EURUSD \(1h, 4h\)"):
        load_settings(tmp_path, two)


def test_the_gate_may_ask_for_any_coverage_that_is_evaluated(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("gate: {coverage: 0.95}\nevaluation: {coverages: [0.9, 0.95]}\n")
    assert load_settings(tmp_path).gate.coverage == 0.95
