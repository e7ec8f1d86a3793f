"""What SSSD learns: losses on dense segments, scores of samples on validation rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fxgpt_core.diffusion.practice import default_weights, level_noise
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.adjustment import Adjustment, label_overlap, sample_crps, shrinkage
from fxgpt_core.models.evidence import shape_gain
from fxgpt_core.models.settling import settle_moments
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.encoder import Carried
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.models.sssd.network import Network, blindness
from fxgpt_core.ssm.groups import parameter_groups
from fxgpt_core.ssm.stack import Stack

METRIC = "validation_crps"
_JUDGED = 10_000  # rows that stand for all where scales are judged


@dataclass(frozen=True)
class Labels:
    """Targets of one dataset on the device, zero where masked: all (bars, horizons); rows on the CPU.

    `train_rows`, `validation_rows`: base bars on which scales are judged; `sampled`: places among the latter for which
    samples are drawn, from `sampled_start` (sampled, draws, horizons).
    """

    target: Tensor
    train: Tensor
    train_rows: Tensor
    validation_rows: Tensor
    sampled: Tensor
    sampled_start: Tensor

    @classmethod
    def build(cls, dataset: Dataset, config: SSSDConfig, start: Any, device: torch.device | str) -> Labels:
        """Take train labels, evenly spaced rows with one to judge by, and `validation_rows` of them to sample.

        `start(decided_at, draws)` gives starting noise (rows, draws, horizons).
        """
        split = dataset.split
        assert split is not None  # the caller has checked
        train = split.train & np.isfinite(dataset.targets)
        rows = _spaced(np.flatnonzero((split.validation & np.isfinite(dataset.targets)).any(axis=1)), _JUDGED)
        sampled = _spaced(np.arange(len(rows)), config.training.validation_rows)
        noise = start(dataset.known_at[rows[sampled]], config.training.validation_samples)
        return cls(
            torch.from_numpy(np.nan_to_num(dataset.targets).astype(np.float32)).to(device),
            torch.from_numpy(train.astype(np.float32)).to(device),
            torch.from_numpy(_spaced(np.flatnonzero(train.any(axis=1)), _JUDGED)),
            torch.from_numpy(rows),
            torch.from_numpy(sampled),
            torch.from_numpy(noise).to(device),
        )


def _spaced(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return rows[:: max(1, -(-len(rows) // most))]


class Lesson:
    """What SSSD learns, as `training.lesson.Lesson` asks for it: an item is a segment, named by its first base bar."""

    metric = METRIC

    def __init__(self, network: Network, inputs: Inputs, labels: Labels, dataset: Dataset) -> None:
        self.network = network
        self.inputs, self.labels = inputs, labels
        training = network.config.training
        self.length = min(training.segment, len(dataset))
        self.stretches = inputs.stretch_lengths(self.length, training.burn_in)
        self.horizon_weights = default_weights(network.horizons, training.horizon_weights)
        split = dataset.split
        assert split is not None  # the caller has checked
        rows, known = labels.validation_rows.numpy(), np.isfinite(dataset.targets)
        taught = labels.train_rows.numpy()
        self.outcome = dataset.targets[taught], dataset.targets[rows]
        self.counted = (split.train & known)[taught], (split.validation & known)[rows]
        stride = float(np.median(np.diff(rows))) if len(rows) > 1 else 1.0
        self.overlap = np.maximum(label_overlap(dataset) / stride, 1.0)
        self.restarts, self.begins = torch.tensor(split.restarts, dtype=torch.int64), inputs.begins(split.restarts)
        self.carried: Carried | None = None

    def loss(self, items: Tensor, keys: Tensor) -> Tensor:
        """Return the loss over every supervised bar of the segments that begin at `items`; shapes never change."""
        config = self.network.config
        generators = [torch.Generator().manual_seed(int(key)) for key in keys]
        seen, disturb = self._augmented(items, keys)
        encoder = self.network.encoder
        begins = self.begins[torch.searchsorted(self.restarts, items, right=True)]
        context = encoder.segments(
            self.inputs, seen, self.length, self.stretches, disturb, self.carried, begins
        ).flatten(0, 1)
        bars = self._bars(items).flatten()
        mask, target = self.labels.train[bars], self.labels.target[bars]
        shape = (config.diffusion.noises, self.length)
        noise = torch.cat([torch.randn(*shape, target.shape[-1], generator=g) for g in generators], dim=1)
        level = torch.cat([level_noise(g, shape, config.diffusion.steps) for g in generators], dim=1)
        blind = torch.cat([blindness(g, shape, config.training.blind) for g in generators], dim=1)
        weights = self.horizon_weights.to(target)
        scale_loss, diffusion_loss = self.network.losses(
            context, target, mask, weights, noise.to(target), level.to(target), blind.to(target)
        )
        return config.training.scale_weight * scale_loss + diffusion_loss

    def renew(self) -> bool:
        """Carry the encoder's states along the history anew, where segments begin from them."""
        training = self.network.config.training
        if not training.carry:
            return False
        self.carried = self.network.encoder.carry(self.inputs, training.carry_every, self.begins)
        return True

    def weights(self, items: Tensor) -> Tensor:
        """Return the weight of all labels of each segment, (items,)."""
        mask = self.labels.train[self._bars(items)]  # (items, length, horizons)
        return (mask * self.horizon_weights.to(mask)).sum(dim=(1, 2))

    def groups(self) -> list[dict[str, Any]]:
        """Rates of their own for the head and for A and dt, which never decay."""
        training = self.network.config.training

        def rate(name: str) -> float:
            return training.head_lr if name.startswith("denoiser.") else training.lr

        return parameter_groups(self.network, rate, training.dynamics_lr, training.weight_decay)

    def blocks(self) -> list[nn.Module]:
        """The state-space blocks: nearly all activations of a segment are theirs."""
        return [block for stack in self.network.encoder.stacks.values() for block in cast(Stack, stack).blocks]

    def validate(self, parts: int) -> dict[str, float]:
        """Settle how far the network is trusted, and return scores over validation labels.

        What is judged is what would be forecast. The CRPS is that of the law of u without a context on all rows, plus,
        where draws are given the context, what that gains on the rows that are sampled: so it is precise, as nearly
        all of the skill lies in the scale, whose score needs no draws of its own.
        """
        network, labels = self.network, self.labels
        rows = torch.cat([labels.train_rows, labels.validation_rows])
        with torch.no_grad():
            context = network.encoder.history(self.inputs, rows, max(network.config.bars_per_pass // parts, 1))
            crps = settle_moments(
                network,
                (network.learned_mean(context), network.learned_log_scale(context)),
                self.outcome,
                self.counted,
                self.overlap,
                self.horizon_weights,
                network.config.adjustment,
            )
            gain, samples = self._settle_shape(context[len(labels.train_rows) :][labels.sampled], parts)
        at = labels.sampled.numpy()
        scores = validation_scores(samples, self.outcome[1][at], self.counted[1][at])
        scores["crps"] = crps * (1.0 - gain)
        return {f"validation_{name}": value for name, value in scores.items()}

    def _settle_shape(self, context: Tensor, parts: int) -> tuple[float, NDArray[np.float64]]:
        """Let draws look at the context where that proves itself; return the gain, as a share of the CRPS, and draws.

        `context` (sampled, context); draws are those that would be forecast, (sampled, draws, horizons).
        """
        at, prior = self.labels.sampled.numpy(), self.network.config.adjustment
        outcome, counted = self.outcome[1][at], self.counted[1][at]
        overlap = np.maximum(self.overlap * len(at) / len(self.outcome[1]), 1.0)
        self.network.informed.fill_(0.0)
        plain = self._drawn(context, parts)
        self.network.informed.fill_(1.0)
        drawn = self._drawn(context, parts)
        shrink = shrinkage(drawn, outcome, counted, overlap, prior)
        informed = Adjustment(shrink, np.ones_like(shrink)).apply(drawn)
        score = [_crps(samples, outcome) for samples in (plain, informed)]
        gain, t = shape_gain(score[0], score[1], counted, overlap)
        if prior.shape_errors is None or t > prior.shape_errors:
            return gain, informed.astype(np.float64)
        self.network.informed.fill_(0.0)
        return 0.0, plain.astype(np.float64)

    def _drawn(self, context: Tensor, parts: int) -> NDArray[np.float32]:
        size = max(-(-len(context) // parts), 1)
        pairs = zip(torch.split(context, size), torch.split(self.labels.sampled_start, size), strict=True)
        steps = self.network.config.training.validation_steps
        return torch.cat([self.network.draw(seen, start, steps) for seen, start in pairs]).float().cpu().numpy()

    def to(self, device: torch.device | str) -> None:
        """Move features and labels."""
        features = {code: values.to(device) for code, values in self.inputs.features.items()}
        self.inputs = replace(self.inputs, features=features, last_known=self.inputs.last_known.to(device))
        self.restarts, self.begins, self.carried = self.restarts.to(device), self.begins.to(device), None
        labels = self.labels
        self.labels = replace(
            labels,
            target=labels.target.to(device),
            train=labels.train.to(device),
            sampled_start=labels.sampled_start.to(device),
        )

    def _bars(self, items: Tensor) -> Tensor:
        """Return the base bars of each segment, (items, length)."""
        return items[:, None] + torch.arange(self.length, device=items.device)

    def _augmented(self, items: Tensor, keys: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor] | None]:
        """Return where the inputs of each segment begin, a few bars before its labels, and the noise laid on them."""
        config = self.network.config.augmentation
        if not (config.noise or config.shift):
            return items, None
        generators = [torch.Generator().manual_seed(int(key) + 2**62) for key in keys]
        delay = torch.cat([torch.randint(0, config.shift + 1, (1,), generator=g) for g in generators])

        def disturb(values: Tensor) -> Tensor:
            noise = torch.stack([torch.randn(values.shape[1:], generator=g) for g in generators])
            return values + config.noise * noise.to(values)

        return (items - delay.to(items.device)).clamp(min=0), disturb if config.noise else None


def _crps(samples: NDArray[np.float32], outcome: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `sample_crps` of samples (rows, draws, horizons): (rows, horizons)."""
    wide = samples.astype(np.float64)
    return np.stack([sample_crps(wide[..., h], outcome[:, h]) for h in range(wide.shape[-1])], axis=1)


def validation_scores(
    samples: NDArray[np.float64], outcome: NDArray[np.float64], counted: NDArray[np.bool_]
) -> dict[str, float]:
    """Return CRPS, RMSE of the mean, MAE of the median and directional accuracy, means over horizons.

    `samples` (rows, draws, horizons); `outcome`, `counted` (rows, horizons). A mean of exactly zero has no direction
    and counts half.
    """
    found: dict[str, list[float]] = {"crps": [], "rmse": [], "mae": [], "direction": []}
    for h in range(outcome.shape[1]):
        rows = counted[:, h]
        if not rows.any():
            continue
        draws, y = samples[rows, :, h], outcome[rows, h]
        mean = draws.mean(axis=1)
        found["crps"].append(float(sample_crps(draws, y).mean()))
        found["rmse"].append(float(np.sqrt(np.mean((mean - y) ** 2))))
        found["mae"].append(float(np.abs(np.median(draws, axis=1) - y).mean()))
        found["direction"].append(float(np.mean(0.5 + 0.5 * np.sign(mean) * np.sign(y))))
    return {name: float(np.mean(values)) for name, values in found.items()}
