"""Files of a fitted SSSD: safetensors and JSON, and the marker that says a fit is finished."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file
from torch import Tensor

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.hashing import bytes_hash, stable_hash
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.models.forecaster import FitReport
from fxgpt_core.models.sssd.adjustment import Adjustment
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.inputs import Scaling
from fxgpt_core.models.sssd.network import Network
from fxgpt_core.training.plan import TrainingPlan

FINISHED = "fitted"
_WEIGHTS, _MODEL, _FIT = "weights.safetensors", "model.json", "fit.json"


@dataclass(frozen=True)
class Stored:
    """Contents of a model folder."""

    config: SSSDConfig
    scaling: Scaling
    adjustment: Adjustment
    horizons: tuple[int, ...]
    trained_until: np.datetime64
    weights: dict[str, Tensor]
    disagreement: tuple[float, ...] | None


def write(
    folder: Path,
    network: Network,
    config: SSSDConfig,
    scaling: Scaling,
    adjustment: Adjustment,
    horizons: tuple[int, ...],
    trained_until: np.datetime64,
    disagreement: tuple[float, ...] | None = None,
) -> None:
    """Write the model into `folder`, creating it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({n: v.detach().cpu().contiguous() for n, v in network.state_dict().items()}, folder / _WEIGHTS)
    document = {
        "family": "sssd",
        "config": config.model_dump(mode="json"),
        "scaling": scaling.to_dict(),
        "adjustment": {"shrink": adjustment.shrink.tolist(), "scale": adjustment.scale.tolist()},
        "horizons": list(horizons),
        "trained_until": str(trained_until),
        "disagreement": disagreement,
        "weights_hash": bytes_hash((folder / _WEIGHTS).read_bytes()),
    }
    (folder / _MODEL).write_text(json.dumps(document, allow_nan=False), encoding="utf-8")


def read(folder: Path) -> Stored:
    """Read a model folder; raises ModelError when a file is missing or does not belong to the others."""
    for name in (_MODEL, _WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} holds no SSSD model: {name} is missing.")
    try:
        values = json.loads((folder / _MODEL).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{folder / _MODEL} is damaged ({error}): restore the folder or train again.") from error
    if values.get("family") != "sssd":
        raise ModelError(f"{folder / _MODEL} is of family {values.get('family')!r}, not sssd.")
    if bytes_hash((folder / _WEIGHTS).read_bytes()) != values["weights_hash"]:
        raise ModelError(f"{folder / _WEIGHTS} is damaged: its checksum differs from the one in {_MODEL}.")
    return Stored(
        SSSDConfig.model_validate(values["config"]),
        Scaling.from_dict(values["scaling"]),
        Adjustment(*(np.asarray(values["adjustment"][name], dtype=np.float64) for name in ("shrink", "scale"))),
        tuple(values["horizons"]),
        np.datetime64(values["trained_until"], "ns"),
        load_file(folder / _WEIGHTS),
        None if values.get("disagreement") is None else tuple(values["disagreement"]),
    )


def model_hash(network: Network, scaling: Scaling) -> str:
    """Return a hash of weights and scaling: what a state of the encoder belongs to."""
    weights = [bytes_hash(v.detach().cpu().contiguous().numpy().tobytes()) for v in network.state_dict().values()]
    return stable_hash([weights, scaling.to_dict()])


def fingerprint(config: SSSDConfig, dataset: Dataset, split: Split, plan: TrainingPlan) -> str:
    """Return a hash of everything that decides a fit: configuration, data, split, seed, precision."""
    arrays = [dataset.targets, split.train, split.validation, dataset.last_known]
    arrays += [table.values for table in dataset.tables.values()]
    return stable_hash(
        {
            "config": config.model_dump(mode="json"),
            "data": [dataset.symbol, dataset.definition_hash, list(dataset.horizons), list(dataset.tables)],
            "arrays": [bytes_hash(np.ascontiguousarray(values).tobytes()) for values in arrays],
            "trained_until": str(split.trained_until),
            "plan": [plan.seed, plan.precision],
        }
    )


def prepare(folder: Path, wanted: str) -> None:
    """Make `folder` hold state of the fit `wanted` only: what belongs to another one is removed."""
    started = folder / _FIT
    if started.is_file() and _fit_of(started).get("fingerprint") == wanted:
        return
    for path in (*folder.glob("*.ckpt"), started):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / FINISHED, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    started.write_text(json.dumps({"fingerprint": wanted}), encoding="utf-8")


def finish(folder: Path, wanted: str, report: FitReport) -> None:
    """Mark the fit as finished and drop its checkpoints; the marker is written last, in one rename."""
    partial = folder / "fit.partial"
    partial.write_text(json.dumps({"fingerprint": wanted, "report": asdict(report)}), encoding="utf-8")
    partial.replace(folder / _FIT)
    for path in folder.glob("*.ckpt"):
        path.unlink()


def finished(folder: Path, wanted: str) -> FitReport | None:
    """Return the report of a finished fit `wanted` in `folder`, None where there is none."""
    values = _fit_of(folder / _FIT)
    if values.get("fingerprint") != wanted or "report" not in values:
        return None
    report = values["report"]
    curves = {name: tuple(points) for name, points in report["curves"].items()}
    notes = (*report["notes"], "loaded from a finished fit")
    return FitReport(report["rows"], report["seconds"], report["metrics"], curves, notes, tuple(report.get("plan", ())))


def _fit_of(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}  # cut off while being written: as good as absent
    return values if isinstance(values, dict) else {}
