"""The joint law of what the scale leaves, where all rows share one: learned apart from the encoder, which it ignores.

Training stops where the scale has learned its last, often after an epoch or two, and the diffusion then does not know
yet how horizons go together (rank correlation of .51 where outcomes had .57). Without a context the head is a small
network of its own, so it is trained on by itself, in seconds, and kept where validation labels agree.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from fxgpt_core.diffusion.practice import level_noise
from fxgpt_core.models.evidence import pairing
from fxgpt_core.models.sssd.network import Network
from fxgpt_core.models.sssd.tuning import Rows

_ROWS = 512
_JUDGED = 1000  # validation bars


@dataclass(frozen=True)
class Law:
    """Pairing of validation draws before and after (`evidence.pairing`); where it did not fall, the old head stays."""

    before: float
    after: float

    @property
    def kept(self) -> bool:
        """Whether what was learned stays."""
        return self.after < self.before


def learn_law(network: Network, taught: Rows, judged: Rows, updates: int, seed: int) -> Law:
    """Train the head on what mean and scale leave of training labels, and judge it on validation labels."""
    head = network.denoiser.head
    as_it_was, before = copy.deepcopy(head.state_dict()), paired(network, judged, seed)
    train_head(network, taught, head.parameters(), network.config.training.head_lr, updates, seed)
    law = Law(before, paired(network, judged, seed))
    if not law.kept:
        head.load_state_dict(as_it_was)
    return law


def train_head(
    network: Network,
    rows: Rows,
    trained: Iterable[nn.Parameter],
    lr: float,
    updates: int,
    seed: int,
    alone: int | None = None,
) -> None:
    """Train `trained` parameters of the head with the encoder as it is, by the loss of the diffusion.

    Subsets of horizons are practised as in training (`diffusion.subsets`); horizon `alone` is asked for by itself half
    of the time. Where draws are not given the context, targets are mirrored at random, for that law has no direction.
    """
    generator, informed = torch.Generator().manual_seed(seed), bool(network.informed)
    weights = torch.ones(network.horizons, device=rows.context.device)
    subsets, horizons = network.config.diffusion.subsets, network.horizons
    with torch.no_grad():
        clean = (rows.target - network.mean(rows.context)) * torch.exp(-network.log_scale(rows.context))
        context = network.seen(rows.context)
    optimiser = torch.optim.Adam(list(trained), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    for _ in range(updates):
        at = torch.randint(len(context), (_ROWS,), generator=generator)
        some = torch.rand(_ROWS, 1, generator=generator) < subsets
        asked = torch.where(some, torch.rand(_ROWS, horizons, generator=generator) < 0.5, True)
        if alone is not None:
            only = torch.arange(horizons) == alone
            asked = torch.where(torch.rand(_ROWS, 1, generator=generator) < 0.5, only, asked)
        mask = asked.to(weights) * rows.mask[at]
        sign = torch.where(torch.rand(_ROWS, 1, generator=generator) < 0.5, -1.0, 1.0).to(weights)
        noise = torch.randn(1, _ROWS, network.horizons, generator=generator).to(weights)
        level = level_noise(generator, (1, _ROWS), network.config.diffusion.steps).to(weights)
        target = clean[at] if informed else clean[at] * sign
        loss = network.denoiser.loss(target, mask, context[at], weights, noise, level)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()


def paired(network: Network, rows: Rows, seed: int) -> float:
    """Return `evidence.pairing` of draws for at most `_JUDGED` bars."""
    config, at = network.config, slice(None, None, max(1, -(-len(rows.context) // _JUDGED)))
    context = rows.context[at]
    shape = (len(context), config.training.validation_samples, network.horizons)
    start = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(context)
    drawn = network.draw(context, start, config.training.validation_steps)
    samples, outcome = drawn.double().cpu().numpy(), rows.target[at].double().cpu().numpy()
    return pairing(samples, outcome, (rows.mask[at] > 0).cpu().numpy())
