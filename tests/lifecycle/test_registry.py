"""The registry keeps one model per symbol, one version per training, and aliases that move by themselves never."""

from __future__ import annotations

from pathlib import Path

import pytest

from fxgpt_core.common.errors import BadInputError, StoreError
from fxgpt_core.lifecycle.registry import CHAMPION, SHADOW, ModelRegistry, TrainingRecord


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
