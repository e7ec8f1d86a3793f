"""`Settings`: every section of `configs/pipeline.yaml`, each typed by the layer that it steers."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from fxgpt_core.backtest.adherence_config import AdherenceConfig
from fxgpt_core.backtest.config import BacktestConfig
from fxgpt_core.backtest.limits import PortfolioLimits
from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import ConfigError
from fxgpt_core.evaluation.config import EvaluationConfig
from fxgpt_core.evaluation.split_config import CombinatorialConfig, WalkForwardConfig
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.market.config import QualityConfig, load_market_hours
from fxgpt_core.policy.config import GateConfig, RetrainingConfig
from fxgpt_core.policy.live_config import LiveConfig
from fxgpt_core.policy.shadow import ShadowConfig
from fxgpt_core.store.asset_config import AssetConfig, cron
from fxgpt_core.store.config import load_yaml, merge, validate


class AutomationConfig(Config):
    """How often the daemon looks."""

    verdict_interval_seconds: int = Field(
        300, ge=5, le=86_400, description="Seconds between readings of drift verdicts."
    )
    inbox_interval_seconds: int = Field(30, ge=5, le=86_400, description="Seconds between looks into the inbox.")
    inbox_settle_seconds: float = Field(
        5.0, ge=0, le=3600, description="A file changed this recently is still being copied and waits."
    )
    imports_interval_seconds: int = Field(
        60, ge=5, le=86_400, description="Seconds between looks whether imported bars, or settings, await candles."
    )
    refresh_cron: str = Field(
        "2 * * * *", description="When bars of the running month are fetched from remote providers, cron in UTC."
    )
    freshness_cron: str = Field("35 * * * *", description="When the age of every pair's bars is judged, cron in UTC.")
    archive_cron: str = Field("15 3 * * *", description="When old live forecasts move to the lake, cron in UTC.")
    live_cron: str = Field("*/5 * * * *", description="When the schedule `live` forecasts new bars, cron in UTC.")
    performance_cron: str = Field("25 * * * *", description="When live forecasts are judged, cron in UTC.")
    shadow_cron: str = Field("40 * * * *", description="When shadows are judged, cron in UTC.")
    forecast_days: float = Field(
        30.0, ge=8, le=3650, description="Days that live forecasts stay in the operational database; judging needs 8."
    )

    @field_validator("refresh_cron", "freshness_cron", "archive_cron", "live_cron", "performance_cron", "shadow_cron")
    @classmethod
    def _cron(cls, value: str) -> str:
        return cron(value)


class FreshnessConfig(Config):
    """How old the last bar may be before the freshness check warns."""

    max_trading_hours: float = Field(
        3.0,
        gt=0,
        le=2000,
        description="Hours of open market since the last bar closed, for bars of remote providers; those that "
        "publish later, such as whole days of minute bars, have their own lag on top.",
    )
    files: bool = Field(
        False,
        description="Judge bars that come from files as well; a history that was imported once is meant to be old.",
    )


class LeakageConfig(Config):
    """How thorough the blocking checks of a feature run are (`fxgpt check leakage` and `recursive` look at more)."""

    cuts: int = Field(24, ge=1, le=1000, description="Number of points at which history is cut off and recomputed.")
    stored_months: int = Field(
        3, ge=1, le=1000, description="Months of each stored dataset that are compared with what would be computed."
    )
    warm_up_months: int = Field(
        2, ge=1, le=1000, description="Months of each timeframe that are computed again with more warm-up."
    )


class Settings(Config):
    """The pipeline's settings for one asset."""

    seed: int = Field(20240301, ge=0, description="Seed of every random draw: training, sampling, bootstrap.")
    quality: QualityConfig = QualityConfig()
    freshness: FreshnessConfig = FreshnessConfig()
    leakage: LeakageConfig = LeakageConfig()
    walk_forward: WalkForwardConfig = WalkForwardConfig()
    combinatorial: CombinatorialConfig = CombinatorialConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    backtest: BacktestConfig = BacktestConfig()
    adherence: AdherenceConfig = AdherenceConfig()
    portfolio: PortfolioLimits = PortfolioLimits()
    drift: DriftConfig = DriftConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    gate: GateConfig = GateConfig()
    live: LiveConfig = LiveConfig()
    shadow: ShadowConfig = ShadowConfig()
    automation: AutomationConfig = AutomationConfig()

    @model_validator(mode="after")
    def _gate_is_evaluated(self) -> Settings:
        if self.gate.coverage not in self.evaluation.coverages:
            raise ValueError(
                f"gate.coverage {self.gate.coverage:g} is not among evaluation.coverages "
                f"{self.evaluation.coverages}: the gate needs it measured"
            )
        return self


def load_settings(config_dir: Path, asset: AssetConfig | None = None) -> Settings:
    """Return `pipeline.yaml` with the asset's overrides laid over it; raises ConfigError naming file and key."""
    path = config_dir / "pipeline.yaml"
    values = load_yaml(path) if path.exists() else {}
    values = merge({"quality": {"market_hours": load_market_hours(config_dir).model_dump(mode="json")}}, values)
    overrides = asset.overrides if asset is not None else {}
    where = str(path) if not overrides or asset is None else f"{path} with the overrides of {asset.symbol}"
    settings = validate(Settings, merge(values, overrides), where)
    if asset is not None:
        try:
            settings.evaluation.weights(len(asset.horizons))
        except ValueError as error:
            raise ConfigError(
                f"{where}: evaluation.{error} of {asset.symbol} ({', '.join(asset.horizons)})."
            ) from error
    return settings
