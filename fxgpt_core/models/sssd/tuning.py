"""Fine-tuning of what the sampler puts out, on the score that it is judged by; kept only where it pays (SPEC 4)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fxgpt_core.diffusion.fine_tuning import FineTuning, fair_crps, fair_energy_score, fine_tune
from fxgpt_core.diffusion.practice import default_weights
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.sssd.config import FineTuningConfig
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.models.sssd.network import Network


@dataclass(frozen=True)
class Rows:
    """Base bars with labels: `context` (rows, context), standardised `target` and its `mask` (rows, horizons)."""

    context: Tensor
    target: Tensor
    mask: Tensor

    @classmethod
    def of(cls, network: Network, dataset: Dataset, counted: NDArray[np.bool_], inputs: Inputs, most: int) -> Rows:
        """Take at most `most` evenly spaced bars with a label that is `counted` (bars, horizons)."""
        mask = counted & np.isfinite(dataset.targets)
        rows = np.flatnonzero(mask.any(axis=1))
        rows = rows[:: max(1, -(-len(rows) // most))]
        device = inputs.last_known.device
        context = network.encoder.history(inputs, torch.from_numpy(rows).to(device), network.config.bars_per_pass)
        target = torch.from_numpy(np.nan_to_num(dataset.targets[rows]).astype(np.float32)).to(device)
        return cls(context, target, torch.from_numpy(mask[rows].astype(np.float32)).to(device))


@dataclass(frozen=True)
class Tuned:
    """Score of validation draws before and after; where it did not fall, the head is as it was."""

    score: str
    before: float
    after: float

    @property
    def kept(self) -> bool:
        """Whether the fine-tuned head stays."""
        return self.after < self.before

    def sentence(self) -> str:
        """Return what to tell."""
        verdict = "kept" if self.kept else "taken back"
        return f"fine-tuning on the {self.score} score: {self.before:.4f} before, {self.after:.4f} after, {verdict}"


def tune(network: Network, taught: Rows, judged: Rows, wanted: FineTuningConfig, seed: int) -> Tuned:
    """Fine-tune the head of `network` on training rows, as it is asked in forecasts, and judge it on validation rows.

    Where draws are not given the context the head learns one law for all rows, from the targets and their mirror
    images, as in training: it has no direction to learn. There only how horizons go together can change, for margins
    are those of training residuals.
    """
    diffusion, weights = network.config.diffusion, default_weights(network.horizons, None).to(taught.context)
    options = FineTuning(
        wanted.updates, wanted.rows, wanted.draws, diffusion.sampler, wanted.sampling_steps, wanted.lr, wanted.score
    )
    with torch.no_grad():
        context, mask = network.seen(taught.context), taught.mask
        clean = (taught.target - network.mean(taught.context)) * torch.exp(-network.log_scale(taught.context))
    if not bool(network.informed):
        context, clean, mask = context.repeat(2, 1), torch.cat([clean, -clean]), mask.repeat(2, 1)
    head = network.denoiser.head
    as_it_was, before = copy.deepcopy(head.state_dict()), _judge(network, judged, weights, wanted, seed)
    fine_tune(network.denoiser, context, clean, mask, weights, options, torch.Generator().manual_seed(seed))
    found = Tuned(wanted.score, before, _judge(network, judged, weights, wanted, seed))
    if not found.kept:
        head.load_state_dict(as_it_was)
    return found


def _judge(network: Network, rows: Rows, weights: Tensor, wanted: FineTuningConfig, seed: int) -> float:
    """Return the score of what would be forecast of these rows, but from independent draws: fair scores need those."""
    config = network.config
    shape = (len(rows.context), config.training.validation_samples, network.horizons)
    start = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(rows.context)
    drawn = network.draw(rows.context, start, config.diffusion.sampling_steps)
    score = fair_energy_score if wanted.score == "energy" else fair_crps
    return float(score(drawn, rows.target, rows.mask, weights))
