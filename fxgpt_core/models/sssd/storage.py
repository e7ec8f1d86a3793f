"""Files of a fitted SSSD: safetensors and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file
from torch import Tensor

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.hashing import bytes_hash, stable_hash
from fxgpt_core.models.adjustment import Adjustment
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.inputs import Scaling
from fxgpt_core.models.sssd.network import Network

_WEIGHTS, _MODEL = "weights.safetensors", "model.json"


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
