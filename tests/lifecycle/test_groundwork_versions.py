"""Versions of groundwork in MLflow: one for each fingerprint, out of the way of the models that forecast."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fxgpt_core.common.errors import StoreError
from fxgpt_core.lifecycle import groundwork_versions
from fxgpt_core.lifecycle.groundwork_versions import GroundworkVersions
from fxgpt_core.lifecycle.registry import ModelRegistry, TrainingRecord


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRegistry]:
    """One store for all tests, each with a symbol of its own: making one takes seconds."""
    root = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            monkeypatch.delenv(name, raising=False)
        made = ModelRegistry(f"sqlite:///{root / 'mlflow.db'}", root / "mlartifacts")
        made.initialise()
        yield made


def record(fingerprint: str) -> TrainingRecord:
    return TrainingRecord({"rows": 9}, {"error": 0.5}, {"train_loss": (1.0, 0.5)}, {"fingerprint": fingerprint})


def files(folder: Path, text: str) -> Path:
    (folder / "fitted").mkdir(parents=True, exist_ok=True)
    (folder / "fitted" / "weights").write_text(text)
    (folder / "fit.json").write_text("{}")
    return folder


def test_a_version_is_registered_once_found_and_fetched(registry, tmp_path):
    versions = GroundworkVersions(registry, "EURUSD", "ldm4ts", "autoencoder")
    assert versions.find("a") is None
    first = versions.register(files(tmp_path / "made", "one"), record("a"))
    again = versions.register(files(tmp_path / "made", "other"), record("a"))
    second = versions.register(files(tmp_path / "made", "two"), record("b"))
    assert first == again == versions.find("a")
    assert (first.label, second.version) == ("fxgpt.EURUSD.ldm4ts.autoencoder/1", "2")
    versions.fetch(first, tmp_path / "placed")
    assert (tmp_path / "placed" / "fitted" / "weights").read_text() == "one"
    versions.fetch(second, tmp_path / "placed")
    assert (tmp_path / "placed" / "fitted" / "weights").read_text() == "two"
    assert registry.versions("EURUSD") == []
    with registry.client("read") as client:
        assert client.get_run(first.run_id).data.metrics == {"error": 0.5, "train_loss": 0.5}


def test_a_registration_that_was_killed_goes_on_in_its_run(registry, tmp_path, monkeypatch):
    versions = GroundworkVersions(registry, "GBPUSD", "ldm4ts", "autoencoder")
    folder = files(tmp_path / "made", "one")
    with registry.client("write to") as client, monkeypatch.context() as patched:
        patched.setattr(type(client), "create_model_version", lambda *_, **__: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(StoreError, match=r"killed"):
            versions.register(folder, record("a"))
    assert versions.find("a") is None
    made = versions.register(folder, record("a"))
    with registry.client("read") as client:
        experiment = client.get_experiment_by_name("fxgpt/GBPUSD").experiment_id
        assert [run.info.run_id for run in client.search_runs([experiment])] == [made.run_id]


def test_old_versions_go_with_their_files(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(groundwork_versions, "KEPT", 2)
    versions = GroundworkVersions(registry, "USDJPY", "ldm4ts", "autoencoder")
    for name in "abc":
        versions.register(files(tmp_path / "made", name), record(name))
    assert versions.find("a") is None
    versions.fetch(versions.find("b"), tmp_path / "placed")
    assert sorted(path.read_text() for path in (registry.artifacts / "USDJPY").rglob("weights")) == ["b", "c"]
