"""Files of a fitted LDM4TS: weights and embeddings as safetensors, the autoencoder or its source, the rest as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.hashing import bytes_hash
from fxgpt_core.models.adjustment import Adjustment
from fxgpt_core.models.ldm4ts import vae_files
from fxgpt_core.models.ldm4ts.config import LDM4TSConfig
from fxgpt_core.models.ldm4ts.latents import Latents
from fxgpt_core.models.ldm4ts.network import Network
from fxgpt_core.models.ldm4ts.perception import Perception
from fxgpt_core.models.ldm4ts.published import PublishedAutoencoder
from fxgpt_core.models.ldm4ts.text_encoder import TextEncoder
from fxgpt_core.models.ldm4ts.vae import SmallVae

_WEIGHTS, _MODEL, _TEXTS, _VAE = "weights.safetensors", "model.json", "texts.safetensors", "autoencoder"


@dataclass(frozen=True)
class Stored:
    """Contents of a model folder."""

    config: LDM4TSConfig
    perception: Perception
    latents: Latents
    adjustment: Adjustment
    horizons: tuple[int, ...]
    trained_until: np.datetime64
    weights: dict[str, Tensor]


def write(
    folder: Path,
    network: Network,
    perception: Perception,
    adjustment: Adjustment,
    horizons: tuple[int, ...],
    trained_until: np.datetime64,
) -> None:
    """Write the model into `folder`, creating it; a published autoencoder is named, the project's own goes along."""
    folder.mkdir(parents=True, exist_ok=True)
    config = network.config
    save_file({n: v.detach().cpu().contiguous() for n, v in network.state_dict().items()}, folder / _WEIGHTS)
    known = perception.texts.known
    sentences = sorted(known)
    if sentences:
        save_arrays({"embeddings": np.stack([known[one] for one in sentences])}, folder / _TEXTS)
    if isinstance(network.latents, SmallVae):
        vae_files.write(folder / _VAE, network.latents, config.vision, config.window)
    document = {
        "family": "ldm4ts",
        "config": config.model_dump(mode="json"),
        "perception": perception.to_dict(),
        "sentences": sentences,
        "encoder": perception.texts.identity if sentences else None,
        "autoencoder": network.latents.identity,
        "adjustment": {"shrink": adjustment.shrink.tolist(), "scale": adjustment.scale.tolist()},
        "horizons": list(horizons),
        "trained_until": str(trained_until),
        "weights_hash": bytes_hash((folder / _WEIGHTS).read_bytes()),
    }
    (folder / _MODEL).write_text(json.dumps(document, allow_nan=False), encoding="utf-8")


def read(folder: Path) -> Stored:
    """Read a model folder; raises ModelError when a file is missing or does not belong to the others."""
    for name in (_MODEL, _WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} holds no LDM4TS model: {name} is missing.")
    try:
        values = json.loads((folder / _MODEL).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{folder / _MODEL} is damaged ({error}): restore the folder or train again.") from error
    if values.get("family") != "ldm4ts":
        raise ModelError(f"{folder / _MODEL} is of family {values.get('family')!r}, not ldm4ts.")
    if bytes_hash((folder / _WEIGHTS).read_bytes()) != values["weights_hash"]:
        raise ModelError(f"{folder / _WEIGHTS} is damaged: its checksum differs from the one in {_MODEL}.")
    config = LDM4TSConfig.model_validate(values["config"])
    latents = published(config) or vae_files.read(folder / _VAE)
    if latents.identity != values["autoencoder"]:
        raise ModelError(
            f"The autoencoder of {folder} is not the one that the model was trained with: restore it or train again."
        )
    sentences = values["sentences"]
    known = dict(zip(sentences, load_arrays(folder / _TEXTS)["embeddings"], strict=True)) if sentences else {}
    texts = TextEncoder(config.conditions, known, values["encoder"])
    return Stored(
        config,
        Perception.from_dict(values["perception"], config, latents, texts),
        latents,
        Adjustment(*(np.asarray(values["adjustment"][name], dtype=np.float64) for name in ("shrink", "scale"))),
        tuple(values["horizons"]),
        np.datetime64(values["trained_until"], "ns"),
        load_file(folder / _WEIGHTS),
    )


def published(config: LDM4TSConfig) -> Latents | None:
    """Return the published autoencoder that the configuration names, None where it names none."""
    wanted = config.latents
    if wanted.autoencoder is None:
        return None
    return PublishedAutoencoder(wanted.autoencoder, wanted.subfolder, wanted.download)
