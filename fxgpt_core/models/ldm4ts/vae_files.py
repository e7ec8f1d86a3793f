"""Files of a trained small autoencoder: safetensors and JSON with a checksum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.hashing import bytes_hash
from fxgpt_core.models.ldm4ts.vae import SmallVae
from fxgpt_core.models.ldm4ts.vae_config import VaeConfig
from fxgpt_core.models.ldm4ts.vision_config import VisionConfig

_WEIGHTS, _VAE = "vae.safetensors", "vae.json"
_KIND = "ldm4ts small vae"


def write(folder: Path, vae: SmallVae, vision: VisionConfig, length: int) -> None:
    """Write the autoencoder, and which pictures of how many bars it knows, into `folder`, creating it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({n: v.detach().cpu().contiguous() for n, v in vae.state_dict().items()}, folder / _WEIGHTS)
    document = {
        "kind": _KIND,
        "config": vae.config.model_dump(mode="json"),
        "vision": vision.model_dump(mode="json"),
        "length": length,
        "identity": vae.identity,
        "weights_hash": bytes_hash((folder / _WEIGHTS).read_bytes()),
    }
    (folder / _VAE).write_text(json.dumps(document, allow_nan=False), encoding="utf-8")


def read(folder: Path) -> SmallVae:
    """Read an autoencoder, frozen and on the CPU; raises ModelError when a file is missing, damaged or of another."""
    values = describe(folder)
    if bytes_hash((folder / _WEIGHTS).read_bytes()) != values["weights_hash"]:
        raise ModelError(f"{folder / _WEIGHTS} is damaged: its checksum differs from the one in {_VAE}.")
    vae = SmallVae(VaeConfig.model_validate(values["config"]))
    vae.load_state_dict(load_file(folder / _WEIGHTS))
    return vae.requires_grad_(False).eval()


def describe(folder: Path) -> dict[str, Any]:
    """Return what is written beside the weights; raises ModelError when it is missing, damaged or of something else."""
    for name in (_VAE, _WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} holds no autoencoder of pictures: {name} is missing.")
    try:
        values: dict[str, Any] = json.loads((folder / _VAE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{folder / _VAE} is damaged ({error}): restore the folder or train again.") from error
    if values.get("kind") != _KIND:
        raise ModelError(f"{folder / _VAE} holds {values.get('kind')!r}, not {_KIND}.")
    return values
