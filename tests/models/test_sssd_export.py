"""Both steps of a fitted SSSD run outside of eager with the same numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sssd_data import planted

from fxgpt_core.common.errors import BadInputError, ModelError
from fxgpt_core.diffusion.noise import row_noise
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.adjustment import Adjustment
from fxgpt_core.models.forecaster import Exportable, Provenance
from fxgpt_core.models.presets import merge
from fxgpt_core.models.sssd import export as exporting
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.forecaster import SSSD
from fxgpt_core.models.sssd.inputs import Scaling

TINY = {
    "preset": "small",
    "encoder": {"channels": 8, "state": 8, "layers": 1, "heads": 2, "context": 12, "chunk": 64},
    "diffusion": {"latent": 16, "layers": 1, "embedding": 4, "samples": 40, "sampling_steps": 8},
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planted(300, seed=3)


def model(data: Dataset, **change: dict[str, object]) -> SSSD:
    """A model with random weights that say something: export does not care how they came about."""
    made = SSSD(SSSDConfig.model_validate(merge(TINY, change)))
    made.adjustment = Adjustment(np.array([0.5, 0.8]), np.array([0.9, 1.1]))
    made.horizons, made.trained_until = data.horizons, data.known_at[0]
    made.scaling = Scaling.fit(data, np.ones(len(data), dtype=bool))
    made.network = made.build(0)
    made.to("cpu")
    torch.nn.init.normal_(made.network.denoiser.head.read.weight)
    torch.nn.init.normal_(made.network.scale.weight, std=0.1)
    torch.nn.init.normal_(made.network.location.weight, std=0.1)
    return made


@dataclass(frozen=True)
class Done:
    model: SSSD
    folder: Path
    differences: dict[str, float]

    @property
    def facts(self) -> dict[str, Any]:
        return json.loads((self.folder / "steps.json").read_text())


@pytest.fixture(scope="module")
def exported(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Done:
    made, folder = model(data), tmp_path_factory.mktemp("export")
    assert isinstance(made, Exportable)
    assert made.formats == ("onnx", "torch")
    return Done(made, folder, made.export(folder, "onnx"))


def test_exported_steps_equal_eager(exported: Done) -> None:
    assert set(exported.differences) == {"encoder_step", "denoiser_step"}
    assert max(exported.differences.values()) < 1e-5
    files = {"encoder_step.onnx", "denoiser_step.onnx", "steps.json", "weights.safetensors", "model.json"}
    assert {file.name for file in exported.folder.iterdir()} == files
    assert exported.facts["timeframes"] == {"1h": 4, "4h": 3}
    assert len(exported.facts["sampler"]["levels"]) == 9
    assert exported.facts["differences"] == exported.differences


def test_samples_made_outside_of_this_library_are_those_of_the_model(data: Dataset, exported: Done) -> None:
    """Encoder and denoiser steps in onnxruntime, DDIM in plain numpy from what steps.json says."""
    import onnxruntime

    made, facts, folder = exported.model, exported.facts, exported.folder
    encoder, denoiser = (onnxruntime.InferenceSession(str(folder / f"{n}_step.onnx")) for n in ("encoder", "denoiser"))
    features = made.scaling.apply(data)
    state = [np.zeros(shape, np.float32) for shape in facts["state"].values()]
    names = [one.name for one in encoder.get_inputs()]
    order = list(facts["state"])
    values = dict(zip(order, state, strict=True))
    values["present"] = values["present"].astype(bool)
    flat = [values["tokens"], values["present"], *(values[name] for name in order if name not in ("tokens", "present"))]
    before = np.full(2, -1)
    for known in data.last_known[:60]:
        rows = [table[max(at, 0)][None] for table, at in zip(features.values(), known, strict=True)]
        given = [*rows, (known > before)[None], *flat]
        context, mean, scale, *flat = encoder.run(None, dict(zip(names, given, strict=True)))
        before = known
    x = row_noise(5, data.known_at[59:60], 40, 2)
    levels, alphas, sigmas = (facts["sampler"][name] for name in ("levels", "alpha", "sigma"))
    names = [one.name for one in denoiser.get_inputs()]
    for i, level in enumerate(levels[:-1]):
        given = [x, np.array(level, np.float32), np.ones(2, np.float32), context]
        (clean,) = denoiser.run(None, dict(zip(names, given, strict=True)))
        kept = sigmas[i + 1] / sigmas[i]
        x = (kept * x + (alphas[i + 1] - kept * alphas[i]) * clean).astype(np.float32)
    samples = made.adjustment.apply(mean[:, None] + x * scale[:, None])
    expected = made.forecast(data, np.array([59]), Provenance("v", data.known_at[-1]), seed=5).samples
    np.testing.assert_allclose(samples, expected / data.yardstick[59].astype(np.float32), atol=1e-4)


def test_a_step_that_differs_from_eager_is_refused(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rounded(*_: object) -> object:
        return lambda *given: [torch.zeros(1)]

    monkeypatch.setattr(exporting, "_written", rounded)
    monkeypatch.setattr(exporting, "_encoder_difference", lambda *_: 0.0)
    with pytest.raises(ModelError, match=r"exported denoiser_step differs from eager by .*, more than 0\.0001"):
        model(data).export(tmp_path, "torch")


def test_an_unknown_format_and_missing_packages_are_said(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInputError, match=r"format 'pickle': choose onnx or torch"):
        model(data).export(tmp_path, "pickle")
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(BadInputError, match=r"needs onnx, onnxscript, onnxruntime"):
        model(data).export(tmp_path, "onnx")


@pytest.mark.deep
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"encoder": {"fusion": "conv1d"}},
        {"encoder": {"fusion": "mlp", "discretisation": "bilinear"}},
        {"diffusion": {"head": "unet", "schedule": "linear"}},
        {"diffusion": {"head": "transformer", "sampler": "dpm++"}},
    ],
)
@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_every_fusion_and_head_can_be_exported(
    form: str, change: dict[str, dict[str, object]], data: Dataset, tmp_path: Path
) -> None:
    assert max(model(data, **change).export(tmp_path, form).values()) < 1e-5
