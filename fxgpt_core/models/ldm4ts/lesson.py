"""What LDM4TS learns: forecast, denoising and reading losses on strided rows; scores on validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fxgpt_core.diffusion.practice import default_weights, level_noise
from fxgpt_core.models.ldm4ts.network import Network, Rows
from fxgpt_core.models.ldm4ts.unet import Block
from fxgpt_core.models.settling import settle_moments
from fxgpt_core.ssm.groups import parameter_groups

METRIC = "validation_score"


@dataclass(frozen=True)
class Labels:
    """Rows with what came: `target` zero where `mask` is, both (rows, horizons); `future` (rows, latent), zero where
    not `pictured` (rows,)."""

    rows: Rows
    target: Tensor
    mask: Tensor
    future: Tensor
    pictured: Tensor

    def to(self, device: torch.device | str) -> Labels:
        """Return the labels on `device`."""
        moved = (getattr(self, name).to(device) for name in ("target", "mask", "future", "pictured"))
        return Labels(self.rows.to(device), *moved)

    def __len__(self) -> int:
        return len(self.target)

    def take(self, at: Tensor | slice) -> Labels:
        """Return some of the rows."""
        return Labels(self.rows.take(at), self.target[at], self.mask[at], self.future[at], self.pictured[at])

    def outcome(self) -> NDArray[np.float64]:
        """Return the targets, NaN where they do not count: (rows, horizons)."""
        return np.asarray(torch.where(self.mask > 0, self.target, torch.nan).double().cpu().numpy())

    def counted(self) -> NDArray[np.bool_]:
        """Return which targets count: (rows, horizons)."""
        return np.asarray((self.mask > 0).cpu().numpy())


class Lesson:
    """What LDM4TS learns, as `training.lesson.Lesson` asks for it: an item is a place among the training rows.

    `overlap` (horizons,): validation rows that one label spans.
    """

    metric = METRIC

    def __init__(self, network: Network, taught: Labels, judged: Labels, overlap: NDArray[np.float64]) -> None:
        self.network, self.taught, self.judged, self.overlap = network, taught, judged, overlap
        config = network.config.training
        self.horizon_weights = default_weights(network.horizons, config.horizon_weights)
        self.seen = slice(None, None, max(1, -(-len(taught) // config.validation_rows)))

    def loss(self, items: Tensor, keys: Tensor) -> Tensor:
        """Return the loss over the rows at places `items`."""
        config, labels = self.network.config, self.taught.take(items)
        generators = [torch.Generator().manual_seed(int(key)) for key in keys]
        shape = (config.diffusion.noises, 1)
        latent = self.network.layout.latent
        noise = torch.cat([torch.randn(*shape, latent, generator=g) for g in generators], dim=1)
        level = torch.cat([level_noise(g, shape, config.diffusion.steps) for g in generators], dim=1)
        kept = torch.stack([self._kept(g) for g in generators])
        target, device = labels.target, labels.target.device
        found = self.network.losses(
            labels.rows,
            target,
            labels.mask,
            self.horizon_weights.to(target),
            labels.pictured,
            labels.future,
            kept.to(device),
            noise.to(device),
            level.to(device),
        )
        training = config.training
        return training.scale_weight * found.forecast + found.denoising + training.reading_weight * found.reading

    def _kept(self, generator: torch.Generator) -> Tensor:
        """Return which conditions a row keeps: each is withheld at times, and at times all are."""
        conditions = self.network.config.conditions
        alone, all_of_them = torch.rand(3, generator=generator), torch.rand((), generator=generator)
        return ((alone >= conditions.drop) & (all_of_them >= conditions.blind)).float()

    def renew(self) -> bool:
        """Nothing is kept of the weights."""
        return False

    def weights(self, items: Tensor) -> Tensor:
        """Return the weight of the labels of each row, (items,)."""
        mask = self.taught.mask[items]
        return (mask * self.horizon_weights.to(mask)).sum(dim=1)

    def groups(self) -> list[dict[str, Any]]:
        """The denoiser has a rate of its own."""
        training = self.network.config.training

        def rate(name: str) -> float:
            return training.lr if name.startswith("denoiser.") else training.head_lr

        return parameter_groups(self.network, rate, training.lr, training.weight_decay)

    def blocks(self) -> list[nn.Module]:
        """The U-Net's blocks."""
        return [module for module in self.network.denoiser.modules() if isinstance(module, Block)]

    @torch.no_grad()
    def validate(self, parts: int) -> dict[str, float]:
        """Settle how far mean and scale are trusted; return the CRPS with that, the denoising loss, and their sum.

        A CRPS says little of whether the reverse chain has learned anything, so the score that stops holds both.
        """
        network, taught = self.network, self.taught.take(self.seen)
        pieces = [self._learned(labels.rows, parts) for labels in (taught, self.judged)]
        learned = (torch.cat([one[0] for one in pieces]), torch.cat([one[1] for one in pieces]))
        outcome = np.nan_to_num(taught.outcome()), np.nan_to_num(self.judged.outcome())
        counted = taught.counted(), self.judged.counted()
        prior = network.config.adjustment
        crps = settle_moments(network, learned, outcome, counted, self.overlap, self.horizon_weights, prior)
        denoising, reading = self._judged_diffusion(parts)
        score = crps + network.config.training.denoising_score * denoising
        return {
            METRIC: score,
            "validation_crps": crps,
            "validation_denoising": denoising,
            "validation_reading": reading,
        }

    def _learned(self, rows: Rows, parts: int) -> tuple[Tensor, Tensor]:
        size = max(min(self.network.config.rows_per_pass, -(-len(rows) // parts)), 1)
        found = [self.network.features(rows.take(slice(at, at + size))) for at in range(0, len(rows), size)]
        features = torch.cat(found)
        return self.network.learned_mean(features), self.network.learned_log_scale(features)

    def _judged_diffusion(self, parts: int) -> tuple[float, float]:
        """Return denoising loss and reading loss on validation rows, with equal noise each time."""
        network, generator = self.network, torch.Generator().manual_seed(0)
        size = max(min(network.config.rows_per_pass, -(-len(self.judged) // parts)), 1)
        total, weight = np.zeros(2), 0.0
        for at in range(0, len(self.judged), size):
            labels = self.judged.take(slice(at, at + size))
            count, target = len(labels), labels.target
            noise = torch.randn(1, count, network.layout.latent, generator=generator).to(target)
            level = level_noise(generator, (1, count), network.config.diffusion.steps).to(target)
            kept = torch.ones(count, 3, device=target.device)
            weights = self.horizon_weights.to(target)
            found = network.losses(
                labels.rows, target, labels.mask, weights, labels.pictured, labels.future, kept, noise, level
            )
            share = float(labels.pictured.sum())
            total += share * np.array([float(found.denoising), float(found.reading)])
            weight += share
        return float(total[0] / max(weight, 1.0)), float(total[1] / max(weight, 1.0))

    def to(self, device: torch.device | str) -> None:
        """Move rows, labels and the autoencoder."""
        self.taught, self.judged = self.taught.to(device), self.judged.to(device)
        self.network.latents.to(device)
