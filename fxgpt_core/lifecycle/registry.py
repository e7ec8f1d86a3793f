"""`ModelRegistry`: the one model registry, MLflow, with one registered model per symbol."""

from __future__ import annotations

import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from fxgpt_core.common.errors import BadInputError, StoreError

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, SHADOW, PREVIOUS = "champion", "shadow", "previous"
ALIASES = (CHAMPION, SHADOW, PREVIOUS)
_LOGGED = "models:/"
_MOVE = "alias_move"
"""Tag of a registered model while its aliases move: JSON, with what they were before."""
_CODE = Path(__file__).with_name("pyfunc_model.py")


@dataclass(frozen=True)
class ModelVersion:
    """One registered version of `fxgpt.<SYMBOL>`; `aliases` among champion, shadow, previous."""

    symbol: str
    version: str
    family: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    run_id: str

    @property
    def label(self) -> str:
        """Name stamped into forecasts: `EURUSD/7`."""
        return f"{self.symbol}/{self.version}"


@dataclass(frozen=True)
class TrainingRecord:
    """What goes into the MLflow run of a new version: parameters, metrics, curves by epoch and version tags."""

    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    curves: Mapping[str, tuple[float, ...]]
    tags: Mapping[str, str]


def model_name(symbol: str) -> str:
    """Return the registered-model name of a symbol."""
    return f"fxgpt.{symbol}"


class ModelRegistry:
    """Versions and aliases in MLflow; `uri` is the tracking and registry store, `artifacts` where folders go."""

    def __init__(self, uri: str, artifacts: Path) -> None:
        self.uri = uri
        self.artifacts = artifacts

    def initialise(self) -> None:
        """Create the store's tables once; safe when several processes start together on a fresh home."""
        self.artifacts.mkdir(parents=True, exist_ok=True)
        with FileLock(self.artifacts.parent / ".mlflow-init.lock"), _errors("open"):
            self._client().search_registered_models(max_results=1)

    def register(self, symbol: str, family: str, bundle: Path, record: TrainingRecord) -> ModelVersion:
        """Log one training as a run and its bundle as a new version of `fxgpt.<SYMBOL>`.

        The alias is not touched. A version whose tag `fingerprint` equals the record's is returned as it is, so that
        a registration repeated after a crash makes no second version.
        """
        self.artifacts.mkdir(parents=True, exist_ok=True)
        # Looking and writing belong together: two processes with the same training must not both register it.
        with FileLock(self.artifacts / f".{symbol}.lock"):
            known = self.find(symbol, record.tags["fingerprint"])
            if known is not None:
                return known
            with _errors("write to"):
                return self._log(symbol, family, bundle, record)

    def _log(self, symbol: str, family: str, bundle: Path, record: TrainingRecord) -> ModelVersion:
        import mlflow

        client = self._client()
        tags = {"symbol": symbol, "family": family, **record.tags}
        experiment = self._experiment(client, symbol)
        # Whoever registers this training holds its lock, so a run of it that seems to go on is a dead process's.
        left = f"attributes.status = 'RUNNING' and tags.fingerprint = '{record.tags['fingerprint']}'"
        for run in client.search_runs([experiment], left):
            client.set_terminated(run.info.run_id, "KILLED")
        with mlflow.start_run(experiment_id=experiment, run_name=f"{symbol} {family}", tags=tags):
            mlflow.log_params(dict(record.params))
            mlflow.log_metrics({name: float(value) for name, value in record.metrics.items()})
            for name, values in record.curves.items():
                for step, value in enumerate(values, start=1):
                    mlflow.log_metric(name, float(value), step=step)
            with warnings.catch_warnings():
                # MLflow asks for type hints and an example; the explicit signature says more than both.
                warnings.simplefilter("ignore", UserWarning)
                info = mlflow.pyfunc.log_model(
                    name="model",
                    python_model=str(_CODE),
                    artifacts={"bundle": str(bundle)},
                    signature=_signature(),
                    pip_requirements=_requirements(),
                )
            run_id = info.run_id
        if not client.search_registered_models(f"name = '{model_name(symbol)}'"):
            client.create_registered_model(model_name(symbol), tags={"symbol": symbol})
        # Tags travel with the creation: a version never exists without its family and fingerprint.
        made = client.create_model_version(model_name(symbol), source=info.model_uri, run_id=run_id, tags=tags)
        return _version(symbol, made)

    def find(self, symbol: str, fingerprint: str) -> ModelVersion | None:
        """Return the newest version with this fingerprint, or None."""
        return next((v for v in self.versions(symbol) if v.tags.get("fingerprint") == fingerprint), None)

    def versions(self, symbol: str) -> list[ModelVersion]:
        """Return all versions of a symbol, newest first; empty where none is registered.

        While aliases move, and where the process that moved them died, they are what they were before: a promotion is
        seen when it is complete (`lifecycle.alias_moves`).
        """
        with _errors("read"):
            found = self._client().search_model_versions(f"name = '{model_name(symbol)}'", max_results=1000)
            aliases: dict[str, list[str]] = {}
            if found:
                held, move = self.aliases(symbol)
                for alias, version in (held if move is None else move["before"]).items():
                    aliases.setdefault(str(version), []).append(alias)
        made = [_version(symbol, v, tuple(sorted(aliases.get(str(v.version), ())))) for v in found]
        return sorted(made, key=lambda v: int(v.version), reverse=True)

    def get(self, symbol: str, version: str) -> ModelVersion:
        """Return one version; raises BadInputError listing what exists."""
        found = self.versions(symbol)
        for candidate in found:
            if candidate.version == str(version):
                return candidate
        known = ", ".join(v.version for v in found) or "none yet"
        raise BadInputError(f"{model_name(symbol)} has no version {version}: registered are {known}.")

    def holder(self, symbol: str, alias: str) -> ModelVersion | None:
        """Return the version that carries `alias`, or None."""
        return next((v for v in self.versions(symbol) if alias in v.aliases), None)

    def aliases(self, symbol: str) -> tuple[dict[str, str], dict[str, Any] | None]:
        """Return alias -> version as they stand now, and the move of them that was begun and not ended, or None."""
        with _errors("read"):
            model = self._client().get_registered_model(model_name(symbol))
        held = {alias: str(version) for alias, version in model.aliases.items() if alias in ALIASES}
        return held, json.loads(model.tags[_MOVE]) if _MOVE in model.tags else None

    def begin_move(self, symbol: str, move: Mapping[str, Any]) -> None:
        """Note that aliases are about to move; `move["before"]`: what they are, alias -> version."""
        with _errors("write to"):
            self._client().set_registered_model_tag(model_name(symbol), _MOVE, json.dumps(move))

    def end_move(self, symbol: str) -> None:
        """Note that the aliases are what they are meant to be."""
        with _errors("write to"):
            self._client().delete_registered_model_tag(model_name(symbol), _MOVE)

    def set_alias(self, symbol: str, alias: str, version: str) -> None:
        """Point `alias` at `version`; what serves is moved by `lifecycle.promotion`, which keeps a record."""
        with _errors("write to"):
            self._client().set_registered_model_alias(model_name(symbol), alias, version)

    def delete_alias(self, symbol: str, alias: str) -> None:
        """Remove `alias`; the version stays."""
        with _errors("write to"):
            self._client().delete_registered_model_alias(model_name(symbol), alias)

    def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Add evidence to a version."""
        with _errors("write to"):
            for key, value in tags.items():
                self._client().set_model_version_tag(model_name(version.symbol), version.version, key, value)

    def metrics(self, version: ModelVersion) -> dict[str, float]:
        """Return what the run of a version measured."""
        with _errors("read"):
            found: dict[str, float] = dict(self._client().get_run(version.run_id).data.metrics)
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def folder(self, version: ModelVersion) -> Path:
        """Return the local folder of a version's bundle; raises StoreError when the artefact is missing."""
        import mlflow

        with _errors("read"):
            self._client()
            uri = f"models:/{model_name(version.symbol)}/{version.version}"
            path = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
        for candidate in sorted((path / "artifacts").glob("*")):
            if candidate.is_dir():
                return candidate
        raise StoreError(f"{version.label}: no bundle under {path}; roll back with `fxgpt models rollback`.")

    def delete(self, version: ModelVersion) -> None:
        """Delete a version and its artefact for good; its run stays."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with self.client("delete from") as client:
            source = str(client.get_model_version(model_name(version.symbol), version.version).source)
            if source.startswith(_LOGGED):
                source = client.get_logged_model(source.removeprefix(_LOGGED)).artifact_location
            repository: Any = get_artifact_repository(source)
            repository.delete_artifacts()
            client.delete_model_version(model_name(version.symbol), version.version)

    @contextmanager
    def client(self, action: str) -> Iterator[MlflowClient]:
        """Give an MLflow client of this store; its failures are StoreErrors that say what could not be done."""
        with _errors(action):
            yield self._client()

    def run(self, symbol: str, name: str, tags: Mapping[str, str], key: str) -> str:
        """Return the id of the newest run of the symbol whose tag `key` has the value in `tags`, or of a new one."""
        with self.client("write to") as client:
            experiment = self._experiment(client, symbol)
            found = client.search_runs([experiment], f"tags.{key} = '{tags[key]}'", max_results=1)
            if found:
                return str(found[0].info.run_id)
            return str(client.create_run(experiment, run_name=name, tags=dict(tags)).info.run_id)

    def _client(self) -> MlflowClient:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        # By default a server that is down is asked for four minutes; whoever waits can be told after some seconds.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        return mlflow.MlflowClient(self.uri, self.uri)

    def _experiment(self, client: MlflowClient, symbol: str) -> str:
        found = client.get_experiment_by_name(f"fxgpt/{symbol}")
        if found is not None:
            return str(found.experiment_id)
        return str(client.create_experiment(f"fxgpt/{symbol}", artifact_location=(self.artifacts / symbol).as_uri()))


@contextmanager
def _errors(action: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise StoreError(
            f"Cannot {action} the model registry: {_first_sentence(error)}. Check MLFLOW_TRACKING_URI or FXGPT_HOME "
            "with `fxgpt doctor`."
        ) from error


def _first_sentence(error: Exception) -> str:
    """Return what an error says first, without the SQL and the nested reasons behind it."""
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    said = said.split(" (Background on this error")[0]
    if "HTTPConnectionPool" in said:
        said = f"{said.split(' failed with exception')[0]} failed: nothing answers there"
    return said.rstrip(". ")


def _version(symbol: str, made: Any, aliases: tuple[str, ...] = ()) -> ModelVersion:
    tags = dict(made.tags)
    return ModelVersion(symbol, str(made.version), tags.get("family", ""), aliases, tags, str(made.run_id))


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    prices = [ColSpec("double", name) for name in ("open", "high", "low", "close")]
    return ModelSignature(
        inputs=Schema([ColSpec("string", "ts_utc"), *prices, ColSpec("double", "volume", required=False)]),
        params=ParamSchema([ParamSpec("seed", "long", 0), ParamSpec("made_at", "string", "")]),
    )


def _requirements() -> list[str]:
    from importlib.metadata import version

    names = ("numpy", "pandas", "scipy", "scikit-learn", "lightgbm", "torch", "safetensors", "TA-Lib", "pydantic")
    return [f"{name}=={version(name).split('+')[0]}" for name in names]
