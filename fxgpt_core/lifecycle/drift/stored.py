"""`StoredReferences`: drift references beside the model versions that they belong to, in MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fxgpt_core.common.errors import DataError
from fxgpt_core.lifecycle.drift.reference import FILES, DriftReference
from fxgpt_core.lifecycle.registry import ModelRegistry, ModelVersion

_FOLDER = "drift"


class StoredReferences:
    """References under `drift/<key>` of the run that made a version: they follow it wherever it goes.

    `key` is a hash of what a reference depends on besides the version: configuration, seed, features. The bundle itself
    is sealed by its checksums and stays as it was trained.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def find(self, version: ModelVersion, key: str) -> DriftReference | None:
        """Return the reference of a version; None where there is none, where it was written in part or is damaged."""
        with self._folder("read", version) as files, TemporaryDirectory() as scratch:
            there = {Path(file.path).name for file in files.list_artifacts(f"{_FOLDER}/{key}")}
            if not there >= set(FILES):
                return None
            folder = files.download_artifacts(f"{_FOLDER}/{key}", scratch)
            try:
                return DriftReference.load(Path(folder))
            except DataError:
                return None

    def save(self, version: ModelVersion, key: str, reference: DriftReference) -> None:
        """Store the reference of a version, the file that holds the checksum last; what is there is replaced."""
        with self._folder("write to", version) as files, TemporaryDirectory() as scratch:
            reference.save(Path(scratch))
            for name in FILES:
                files.log_artifact(str(Path(scratch) / name), f"{_FOLDER}/{key}")

    @contextmanager
    def _folder(self, action: str, version: ModelVersion) -> Iterator[Any]:
        """Give the artefacts of a version's run; MLflow's client remembers where they lie, also when they moved."""
        with self._registry.client(action) as client:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            yield get_artifact_repository(client.get_run(version.run_id).info.artifact_uri)
