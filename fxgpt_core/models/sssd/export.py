"""SSSD outside of Python: one step of the encoder and one of the denoiser as torch.export programs or ONNX graphs.

Both steps are real arithmetic without Fourier transforms. A forecast is: `encoder_step` with the new bars, noise of
shape (rows, draws, horizons), `denoiser_step` at the levels of `steps.json` with the sampler's update between them,
then, where `steps.json` has `margins`, the draws of each row and horizon replaced by evenly placed values of those
in the order that the draws have (`margins.spread_out`), times `scale` plus `mean`, then the adjustment in `model.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from fxgpt_core.common.errors import BadInputError, ModelError
from fxgpt_core.diffusion.samplers import sampler_levels
from fxgpt_core.diffusion.schedules import amplitudes
from fxgpt_core.models.sssd.network import Network
from fxgpt_core.models.sssd.streaming import Stepper
from fxgpt_core.ssm.stack import Stack

Format = Literal["onnx", "torch"]
FORMATS: tuple[Format, ...] = ("onnx", "torch")
TOLERANCE = 1e-4
"""Largest difference from eager, in units of a context whose deviation is 1 and of a standardised return."""

_SUFFIX = {"onnx": "onnx", "torch": "pt2"}
_CHECKED = 40  # steps that are compared with eager, one after the other


class EncoderStep(nn.Module):
    """(features by timeframe, arrived, state) -> (context, mean, scale, state); shapes as in `Stepper.forward`.

    Samples are `mean` plus draws times `scale`, (streams, horizons) each. A bar without any known value is a row of
    NaN.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.stepper, self.network = Stepper(network.encoder), network

    def forward(
        self, features: tuple[Tensor, ...], arrived: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
        """See the class."""
        context, after = self.stepper(features, arrived, state)
        return context, self.network.mean(context), torch.exp(self.network.log_scale(context)), after


class DenoiserStep(nn.Module):
    """(x, level, mask, context) -> clean: x (rows, draws, horizons), a level in [0, T], mask (horizons,), context."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, level: Tensor, mask: Tensor, context: Tensor) -> Tensor:
        """See the class; `context` is (rows, context), x is in units of `scale`."""
        seen = self.network.seen(context)[:, None]
        clean: Tensor = self.network.denoiser(x, level, mask, seen)
        return clean


def export(network: Network, folder: Path, form: str) -> dict[str, float]:
    """Write both steps and `steps.json` (names, shapes, sampler levels, differences) into `folder`.

    Returns the largest difference of each step from eager over a run of random bars. The network is a copy on the CPU.
    Raises BadInputError for an unknown format or where ONNX is not installed, ModelError where a step differs from
    eager by more than `TOLERANCE`.
    """
    chosen = _checked(form)
    folder.mkdir(parents=True, exist_ok=True)
    encoder, denoiser = EncoderStep(network), DenoiserStep(network)
    run_encoder = _written(
        encoder, _encoder_inputs(encoder, 2), _encoder_shapes(encoder), folder, "encoder_step", chosen
    )
    run_denoiser = _written(
        denoiser, _denoiser_inputs(denoiser, 2, 5), _denoiser_shapes(), folder, "denoiser_step", chosen
    )
    differences = {
        "encoder_step": _encoder_difference(encoder, run_encoder),
        "denoiser_step": _denoiser_difference(denoiser, run_denoiser),
    }
    for name, value in differences.items():
        if not value <= TOLERANCE:
            raise ModelError(f"The exported {name} differs from eager by {value:.1e}, more than {TOLERANCE:g}.")
    (folder / "steps.json").write_text(json.dumps(_facts(encoder, differences), indent=1), encoding="utf-8")
    return differences


Run = Callable[..., list[Tensor]]


def _written(module: nn.Module, inputs: tuple[Any, ...], shapes: Any, folder: Path, name: str, form: Format) -> Run:
    """Export `module` into a file; return a call that runs what the file says, with flat outputs."""
    module.eval()
    path = folder / f"{name}.{_SUFFIX[form]}"
    with torch.no_grad():
        program = torch.export.export(module, inputs, dynamic_shapes=shapes)
    if form == "torch":
        torch.export.save(program, path)
        loaded = torch.export.load(path).module()
        return lambda *given: _flat(loaded(*given))
    import onnxruntime

    torch.onnx.export(program, (), str(path), external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(*given: Any) -> list[Tensor]:
        values = dict(zip(names, (value.numpy() for value in _flat(given)), strict=True))
        return [torch.from_numpy(np.asarray(value)) for value in session.run(None, values)]

    return run


def _flat(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    return [leaf for value in values for leaf in _flat(value)]


def _encoder_inputs(step: EncoderStep, streams: int) -> tuple[Any, ...]:
    encoder = step.network.encoder
    state = encoder.initial_state(streams).flat()
    features = tuple(torch.randn(streams, count) for count in _columns(step.network))
    return features, torch.ones(streams, len(features), dtype=torch.bool), state


def _denoiser_inputs(step: DenoiserStep, rows: int, draws: int) -> tuple[Tensor, ...]:
    network = step.network
    x, context = torch.randn(rows, draws, network.horizons), torch.randn(rows, network.encoder.width)
    return x, torch.tensor(400.0), torch.ones(network.horizons), context


def _encoder_shapes(step: EncoderStep) -> Any:
    streams = torch.export.Dim("streams", min=1, max=1 << 20)
    layers = len(_encoder_inputs(step, 1)[2])
    codes = len(_columns(step.network))
    return tuple({0: streams} for _ in range(codes)), {0: streams}, tuple({0: streams} for _ in range(layers))


def _denoiser_shapes() -> Any:
    rows, draws = torch.export.Dim("rows", min=1, max=1 << 20), torch.export.Dim("draws", min=1, max=1 << 16)
    return {0: rows, 1: draws}, {}, {}, {0: rows}


@torch.no_grad()
def _encoder_difference(step: EncoderStep, run: Run) -> float:
    """Return the largest difference over bars that come and go, some without any known value, for three streams."""
    generator = torch.Generator().manual_seed(0)
    features, arrived, state = _encoder_inputs(step, 3)
    theirs, worst = list(state), 0.0
    for at in range(_CHECKED):
        features = tuple(torch.randn(f.shape, generator=generator) for f in features)
        features[at % len(features)][at % 3] = torch.nan
        arrived = torch.rand(arrived.shape, generator=generator) < 0.6
        context, mean, scale, state = step(features, arrived, state)
        given = run(features, arrived, tuple(theirs))
        theirs = given[3:]
        pairs = zip([context, mean, scale, *state], given, strict=True)
        worst = max(worst, *(float((a.float() - b.float()).abs().max()) for a, b in pairs))
    return worst


@torch.no_grad()
def _denoiser_difference(step: DenoiserStep, run: Run) -> float:
    """Return the largest difference over levels, subsets of horizons and shapes."""
    generator, worst = torch.Generator().manual_seed(1), 0.0
    steps = step.network.denoiser.schedule.steps
    for at in range(_CHECKED):
        x, _, mask, context = _denoiser_inputs(step, 1 + at % 4, 1 + at % 7)
        x, context = torch.randn(x.shape, generator=generator), torch.randn(context.shape, generator=generator)
        mask = (torch.rand(mask.shape, generator=generator) < 0.7).float()
        level = torch.tensor(steps * (at + 1) / _CHECKED)
        given = run(x, level, mask, context)[0]
        worst = max(worst, float((step(x, level, mask, context) - given).abs().max()))
    return worst


def _facts(step: EncoderStep, differences: dict[str, float]) -> dict[str, Any]:
    network = step.network
    settings, schedule = network.config.diffusion, network.denoiser.schedule
    levels = sampler_levels(settings.sampler, schedule, settings.sampling_steps)
    alphas, sigmas = amplitudes(schedule, levels)
    state = network.encoder.initial_state()
    return {
        "timeframes": dict(zip(step.stepper.codes, _columns(network), strict=True)),
        "horizons": network.horizons,
        "context": network.encoder.width,
        "state": {name: list(value.shape) for name, value in state.tensors().items()},
        "sampler": {"name": settings.sampler, "eta": settings.eta, "draws": settings.samples, "levels": levels.tolist(),
                    "alpha": alphas, "sigma": sigmas},
        "margins": None if bool(network.informed) else network.margins.tolist(),
        "differences": differences,
        "torch": torch.__version__,
    }  # fmt: skip


def _columns(network: Network) -> list[int]:
    return [cast(Stack, stack).project.in_features for stack in network.encoder.stacks.values()]


def _checked(form: str) -> Format:
    if form not in FORMATS:
        raise BadInputError(f"Unknown export format {form!r}: choose {' or '.join(FORMATS)}.")
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if form == "onnx" and missing:
        raise BadInputError(f"ONNX export needs {', '.join(missing)}: run `make setup`, or export with --format torch.")
    return form
