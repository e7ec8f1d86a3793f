"""The last part of a fit: gate and read-outs learn from every training bar, with the denoiser as it is.

Neighbouring windows look alike, so the denoiser trains on strided rows. Their outcomes do not: over five minutes each
bar has an outcome of its own, and a scale learned from every sixth of them knows a sixth. What the denoiser expects of
a bar costs one pass, and once it is known the rest is a small network that learns from all bars in seconds. Trust and
margins are settled on them as well.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fxgpt_core.diffusion.practice import default_weights
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.adjustment import label_overlap
from fxgpt_core.models.ldm4ts.network import Network
from fxgpt_core.models.ldm4ts.perception import Perception
from fxgpt_core.models.likelihood import student_loss
from fxgpt_core.models.settling import settle_moments

_BATCH = 512
_JUDGED = 10_000  # rows that stand for all where scales are judged
_PIECE = 4096  # rows whose conditions are held at once


@dataclass(frozen=True)
class Bars:
    """Bars with labels: features of the expected `picture` (rows, features), `series` (rows, columns), `target` zero
    where `mask` is, both (rows, horizons)."""

    picture: Tensor
    series: Tensor
    target: Tensor
    mask: Tensor

    def take(self, at: Tensor | slice) -> Bars:
        """Return some of the rows."""
        return Bars(self.picture[at], self.series[at], self.target[at], self.mask[at])

    def few(self) -> Bars:
        """Return evenly spaced rows that stand for all."""
        return self.take(slice(None, None, max(1, -(-len(self.target) // _JUDGED))))

    def outcome(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return targets and which of them count, (rows, horizons) each."""
        return self.target.double().cpu().numpy(), (self.mask > 0).cpu().numpy()


@torch.no_grad()
def bars_of(
    network: Network, perception: Perception, dataset: Dataset, rows: NDArray[np.int64], used: NDArray[np.bool_]
) -> Bars:
    """Return base bars `rows` with the labels that are `used` (bars, horizons), on the device of the network."""
    device, size = network.trust.device, network.config.rows_per_pass
    pictures, series = [], []
    for at in range(0, len(rows), _PIECE):
        seen = perception.rows(dataset, rows[at : at + _PIECE], network.latents, device)
        pictures += [network.projected(seen.take(slice(i, i + size)).context) for i in range(0, len(seen), size)]
        series.append(seen.series)
    mask = used[rows] & np.isfinite(dataset.targets[rows])
    target = np.where(mask, dataset.targets[rows], 0.0).astype(np.float32)
    labels = (torch.from_numpy(one).to(device) for one in (target, mask.astype(np.float32)))
    return Bars(torch.cat(pictures), torch.cat(series), *labels)


def finish(network: Network, dataset: Dataset, taught: Bars, judged: Bars, seed: int) -> tuple[float, float]:
    """Train gate and read-outs on `taught`, keep the epoch that `judged` likes best, settle trust and margins.

    Returns the CRPS of the validation bars before and after; where it did not fall, everything is as it was.
    """
    training = network.config.training
    parts = (network.fuse, network.scale, network.location)
    parameters = [weight for part in parts for weight in part.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=training.finishing_lr, weight_decay=training.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    few, weights = (taught.few(), judged.few()), default_weights(network.horizons, training.horizon_weights)
    stride = max(1, -(-len(judged.target) // _JUDGED))
    overlap = np.maximum(label_overlap(dataset) / stride, 1.0)
    before = best = _settled(network, few, overlap, weights)
    kept = copy.deepcopy(network.state_dict())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(training.finishing):
            network.fuse.train()
            for at in torch.split(torch.randperm(len(taught.target), generator=generator), _BATCH):
                _step(network, taught.take(at.to(taught.target.device)), weights, optimiser, parameters)
            network.fuse.eval()
            crps = _settled(network, few, overlap, weights)
            if crps < best:
                best, kept = crps, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return before, best


def _step(
    network: Network, some: Bars, weights: Tensor, optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter]
) -> None:
    features = network.fuse(some.picture, some.series)
    weighed = some.mask * weights.to(some.mask)
    mean, log_scale = network.learned_mean(features), network.learned_log_scale(features)
    loss, _ = student_loss(some.target, mean, log_scale, weighed)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parameters, network.config.training.gradient_clip)
    optimiser.step()


@torch.no_grad()
def _settled(network: Network, few: tuple[Bars, Bars], overlap: NDArray[np.float64], weights: Tensor) -> float:
    """Settle how far mean and scale are trusted; return the CRPS with that."""
    features = torch.cat([network.fuse(bars.picture, bars.series) for bars in few])
    learned = network.learned_mean(features), network.learned_log_scale(features)
    (outcome, counted), (later, used) = (bars.outcome() for bars in few)
    prior = network.config.adjustment
    return settle_moments(network, learned, (outcome, later), (counted, used), overlap, weights, prior)
