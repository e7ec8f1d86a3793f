"""Versions of a family's groundwork in MLflow, beside those of the models that stand on it.

They are registered models of their own, `fxgpt.<SYMBOL>.<family>.<name>`: what reads the versions of `fxgpt.<SYMBOL>`
never meets one that cannot forecast. They carry no alias; a model's bundle holds its own copy of what it needs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from fxgpt_core.lifecycle.registry import ModelRegistry, TrainingRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEPT = 5
"""Newest versions that stay."""
_FOLDER = "groundwork"
_TAG = "groundwork_fingerprint"


@dataclass(frozen=True)
class GroundworkVersion:
    """One registered version of `model`."""

    model: str
    version: str
    run_id: str

    @property
    def label(self) -> str:
        """Name for people: `fxgpt.EURUSD.ldm4ts.autoencoder/3`."""
        return f"{self.model}/{self.version}"


class GroundworkVersions:
    """Versions of one part of one family of one symbol."""

    def __init__(self, registry: ModelRegistry, symbol: str, family: str, name: str) -> None:
        self.registry, self.symbol, self.family, self.name = registry, symbol, family, name
        self.model = f"fxgpt.{symbol}.{family}.{name}"

    def register(self, folder: Path, record: TrainingRecord) -> GroundworkVersion:
        """Log the files of `folder` and what is known of their making as a run, and make that a version.

        A version whose tag `fingerprint` equals the record's is returned as it is, and a registration that was killed
        goes on in the run it had. Only the newest versions stay.
        """
        fingerprint = record.tags["fingerprint"]
        self.registry.artifacts.mkdir(parents=True, exist_ok=True)
        with FileLock(self.registry.artifacts / f".{self.model}.lock"):
            known = self.find(fingerprint)
            if known is not None:
                return known
            with self.registry.client("write to") as client:
                made = self._log(client, folder, record)
                for old in self._versions(client)[KEPT:]:
                    _delete(client, old)
        return made

    def find(self, fingerprint: str) -> GroundworkVersion | None:
        """Return the newest version with this fingerprint, or None."""
        with self.registry.client("read") as client:
            found = [v for v in self._versions(client) if v.tags.get("fingerprint") == fingerprint]
        return GroundworkVersion(self.model, str(found[0].version), str(found[0].run_id)) if found else None

    def fetch(self, version: GroundworkVersion, folder: Path) -> None:
        """Put the files of a version into `folder`, in place of what is there: all of them or none."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, self.registry.client("read") as client:
            fetched = Path(client.download_artifacts(version.run_id, _FOLDER, scratch))
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(fetched, folder)

    def _log(self, client: MlflowClient, folder: Path, record: TrainingRecord) -> GroundworkVersion:
        fingerprint = record.tags["fingerprint"]
        tags = {"symbol": self.symbol, "family": self.family, "groundwork": self.name, _TAG: fingerprint, **record.tags}
        run_id = self.registry.run(self.symbol, f"{self.symbol} {self.family} {self.name}", tags, _TAG)
        for name, value in record.params.items():
            client.log_param(run_id, name, value)
        for name, number in record.metrics.items():
            client.log_metric(run_id, name, float(number))
        for name, values in record.curves.items():
            for step, number in enumerate(values, start=1):
                client.log_metric(run_id, name, float(number), step=step)
        client.log_artifacts(run_id, str(folder), _FOLDER)
        client.set_terminated(run_id)
        if not client.search_registered_models(f"name = '{self.model}'"):
            client.create_registered_model(self.model, tags={"symbol": self.symbol})
        source = f"{client.get_run(run_id).info.artifact_uri}/{_FOLDER}"
        made = client.create_model_version(self.model, source=source, run_id=run_id, tags=tags)
        return GroundworkVersion(self.model, str(made.version), run_id)

    def _versions(self, client: MlflowClient) -> list[Any]:
        found = client.search_model_versions(f"name = '{self.model}'", max_results=1000)
        return sorted(found, key=lambda version: int(version.version), reverse=True)


def _delete(client: MlflowClient, version: Any) -> None:
    """Delete the files of a version, then the version; its run stays."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository: Any = get_artifact_repository(str(client.get_model_version(version.name, version.version).source))
    repository.delete_artifacts()
    client.delete_model_version(version.name, version.version)
