"""The registry keeps one model per symbol, one version per training, and aliases that move by themselves never."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sssd_data import planted

from fxgpt_core.common.errors import BadInputError, StoreError
from fxgpt_core.lifecycle.registry import CHAMPION, SHADOW, ModelRegistry, TrainingRecord
from fxgpt_core.lifecycle.training_run import TrainingRun
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.forecaster import SSSD
from fxgpt_core.store.clock import FixedClock
from fxgpt_core.training.plan import plan_training


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    home = tmp_path_factory.mktemp("home")
    made = ModelRegistry(f"sqlite:///{home / 'mlflow.db'}", home / "mlartifacts")
    made.initialise()
    return made


def record(fingerprint: str) -> TrainingRecord:
    tags = {"fingerprint": fingerprint, "trained_until": "2020-01-01T00:00"}
    return TrainingRecord({"alpha": 1.0}, {"validation_crps": 0.5}, {"loss": (3.0, 2.0)}, tags)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "card.json").write_text("{}")
    return folder


def test_a_version_carries_family_fingerprint_and_curve(registry: ModelRegistry, bundle: Path) -> None:
    made = registry.register("EURUSD", "ridge", bundle, record("aa"))
    assert registry.get("EURUSD", made.version).family == "ridge"
    assert registry.find("EURUSD", "aa") == made
    assert (registry.folder(made) / "card.json").read_text() == "{}"


def test_registering_the_same_training_twice_makes_one_version(registry: ModelRegistry, bundle: Path) -> None:
    first = registry.register("GBPUSD", "ridge", bundle, record("bb"))
    again = registry.register("GBPUSD", "ridge", bundle, record("bb"))
    assert again.version == first.version
    assert len(registry.versions("GBPUSD")) == 1


def test_aliases_move_and_symbols_do_not_mix(registry: ModelRegistry, bundle: Path) -> None:
    first = registry.register("AUDUSD", "ewma", bundle, record("cc"))
    second = registry.register("AUDUSD", "ridge", bundle, record("dd"))
    registry.set_alias("AUDUSD", CHAMPION, first.version)
    registry.set_alias("AUDUSD", CHAMPION, second.version)
    holder = registry.holder("AUDUSD", CHAMPION)
    assert holder is not None
    assert holder.version == second.version
    assert registry.holder("AUDUSD", SHADOW) is None
    assert registry.holder("USDCAD", CHAMPION) is None


def test_an_unknown_version_says_which_exist(registry: ModelRegistry, bundle: Path) -> None:
    registry.register("EURGBP", "ewma", bundle, record("ee"))
    with pytest.raises(BadInputError, match="registered are 1"):
        registry.get("EURGBP", "7")


def test_an_unreachable_store_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    broken = ModelRegistry(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", tmp_path / "a")
    with pytest.raises(StoreError, match="model registry"):
        broken.versions("EURUSD")


def test_nothing_is_written_into_the_working_directory(
    registry: ModelRegistry, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    registry.register("NZDUSD", "ewma", bundle, record("ff"))
    assert list(folder.iterdir()) == []


def test_a_training_leaves_one_run_with_plan_epochs_and_ten_plots(registry: ModelRegistry) -> None:
    values = {
        "preset": "small",
        "encoder": {"channels": 8, "state": 8, "layers": 1, "heads": 2, "context": 12},
        "diffusion": {"latent": 16, "layers": 1, "embedding": 4, "samples": 20, "sampling_steps": 8},
        "training": {"epochs": 2, "segment": 128, "burn_in": 64, "batch": 3, "validation_rows": 60},
    }
    clock = FixedClock(datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    watch = TrainingRun(registry, "CADJPY", "sssd", "abc", clock)
    report = SSSD(SSSDConfig.model_validate(values)).fit(planted(1200, seed=3), plan_training(7, watch=watch))
    again = TrainingRun(registry, "CADJPY", "sssd", "abc", clock)  # as after a kill
    again.epoch(3, {"train_loss": 1.0})
    again.finish()
    with registry.client("read") as client:
        found = client.search_runs([client.get_experiment_by_name("fxgpt/CADJPY").experiment_id])
        assert [run.info.status for run in found] == ["FINISHED"]
        run = found[0].info.run_id
        curve = [point.value for point in client.get_metric_history(run, "validation_crps")]
        assert curve == list(report.curves["validation_crps"])
        names = {"train_loss", "learning_rate", *(f"validation_{n}" for n in ("crps", "rmse", "mae", "direction"))}
        assert names <= set(found[0].data.metrics)
        assert {file.path for file in client.list_artifacts(run)} == {"plan.txt", "plan.json", "forecasts"}
        plots = client.list_artifacts(run, "forecasts")
    assert len(plots) == 10
    assert "happened" in (registry.artifacts / "CADJPY" / run / "artifacts" / plots[0].path).read_text()
