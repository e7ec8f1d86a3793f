"""`Settings`: every section of `configs/pipeline.yaml`, each typed by the layer that it steers."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.common.config import Config
from fxgpt_core.evaluation.config import EvaluationConfig, WalkForwardConfig
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.policy.config import GateConfig, RetrainingConfig
from fxgpt_core.store.asset_config import AssetConfig
from fxgpt_core.store.config import load_yaml, merge, validate


class AutomationConfig(Config):
    """How often the daemon looks."""

    verdict_interval_seconds: int = Field(
        300, ge=5, le=86_400, description="Seconds between readings of drift verdicts."
    )


class LeakageConfig(Config):
    """How thoroughly the blocking look-ahead check of a feature run cuts history (`fxgpt check leakage` cuts more)."""

    cuts: int = Field(6, ge=1, le=1000, description="Number of points at which history is cut off and recomputed.")


class Settings(Config):
    """The pipeline's settings for one asset."""

    seed: int = Field(20240301, ge=0, description="Seed of every random draw: training, sampling, bootstrap.")
    quality: QualityConfig = QualityConfig()
    leakage: LeakageConfig = LeakageConfig()
    walk_forward: WalkForwardConfig = WalkForwardConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    backtest: BacktestConfig = BacktestConfig()
    drift: DriftConfig = DriftConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    gate: GateConfig = GateConfig()
    automation: AutomationConfig = AutomationConfig()


def load_settings(config_dir: Path, asset: AssetConfig | None = None) -> Settings:
    """Return `pipeline.yaml` with the asset's overrides laid over it; raises ConfigError naming file and key."""
    path = config_dir / "pipeline.yaml"
    values = load_yaml(path) if path.exists() else {}
    overrides = asset.overrides if asset is not None else {}
    where = str(path) if not overrides or asset is None else f"{path} with the overrides of {asset.symbol}"
    return validate(Settings, merge(values, overrides), where)
