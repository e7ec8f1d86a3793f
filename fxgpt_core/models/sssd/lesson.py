"""Lightning module of SSSD: losses on dense segments, CRPS of samples on validation rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.sssd.adjustment import Adjustment, label_overlap, sample_crps, shrinkage
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.models.sssd.network import Network, default_weights, level_noise
from fxgpt_core.ssm.s4d import DYNAMICS

METRIC = "validation_crps"


@dataclass(frozen=True)
class Labels:
    """Targets of one dataset on the device, zero where masked: all (bars, horizons); validation rows on the CPU."""

    target: Tensor
    train: Tensor
    validation_rows: Tensor
    validation_start: Tensor

    @classmethod
    def build(cls, dataset: Dataset, config: SSSDConfig, start: Any, device: torch.device | str) -> Labels:
        """Take train labels, and at most `validation_rows` evenly spaced rows with a validation label.

        `start(decided_at, draws)` gives starting noise (rows, draws, horizons).
        """
        split = dataset.split
        assert split is not None  # the caller has checked
        train = split.train & np.isfinite(dataset.targets)
        rows = np.flatnonzero((split.validation & np.isfinite(dataset.targets)).any(axis=1))
        rows = rows[:: max(1, -(-len(rows) // config.training.validation_rows))]
        noise = start(dataset.known_at[rows], config.training.validation_samples)
        return cls(
            torch.from_numpy(np.nan_to_num(dataset.targets).astype(np.float32)).to(device),
            torch.from_numpy(train.astype(np.float32)).to(device),
            torch.from_numpy(rows),
            torch.from_numpy(noise).to(device),
        )


class Lesson(LightningModule):
    """Trains a `Network`; every random draw of a step depends on (seed, step) alone, so that a resumed run repeats."""

    def __init__(
        self, network: Network, inputs: Inputs, labels: Labels, dataset: Dataset, steps_per_epoch: int, seed: int
    ) -> None:
        super().__init__()
        self.network = network
        self.inputs, self.labels, self.seed = inputs, labels, seed
        self.steps_per_epoch = steps_per_epoch
        training = network.config.training
        self.length = min(training.segment, len(dataset))
        self.stretches = inputs.stretch_lengths(self.length, training.burn_in)
        self.horizon_weights = default_weights(network.horizons, training.horizon_weights)
        split = dataset.split
        assert split is not None  # the caller has checked
        rows = labels.validation_rows.numpy()
        self.outcome = dataset.targets[rows]
        stride = float(np.median(np.diff(rows))) if len(rows) > 1 else 1.0
        self.overlap = np.maximum(label_overlap(dataset) / stride, 1.0)
        self.counted = split.validation[rows] & np.isfinite(self.outcome)
        self.history: dict[str, list[float]] = {"train_loss": [], "validation_crps": [], "validation_rmse": []}

    def on_train_epoch_start(self) -> None:
        self.network.train()  # Lightning leaves modes as it finds them, and without this dropout would stay off

    def training_step(self, starts: Tensor, index: int) -> Tensor:
        """Return the loss over every supervised bar of the segments that begin at `starts`."""
        config = self.network.config
        torch.manual_seed(self.seed * 1_000_003 + self.global_step)  # dropout; the caller restores global state
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.global_step)
        seen, disturb = self._augmented(starts)
        encoder = self.network.encoder
        context = encoder.segments(self.inputs, seen, self.length, self.stretches, disturb).flatten(0, 1)
        bars = (starts[:, None] + torch.arange(self.length, device=starts.device)).flatten()
        mask = self.labels.train[bars]
        keep = mask.any(dim=-1)
        context, mask, target = context[keep], mask[keep], self.labels.target[bars][keep]
        noises = config.diffusion.noises
        noise = torch.randn(noises, *target.shape, generator=generator).to(target.device)
        level = level_noise(generator, (noises, len(target)), config.diffusion.steps).to(target.device)
        weights = self.horizon_weights.to(target.device)
        scale_loss, diffusion_loss = self.network.losses(context, target, mask, weights, noise, level)
        loss = config.training.scale_weight * scale_loss + diffusion_loss
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=max(len(target), 1))
        return loss

    def _augmented(self, starts: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor] | None]:
        """Return where the inputs of each segment begin, a few bars before its labels, and the noise laid on them."""
        config = self.network.config.augmentation
        if not (config.noise or config.shift):
            return starts, None
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.global_step + 500_009)
        delay = torch.randint(0, config.shift + 1, starts.shape, generator=generator).to(starts.device)

        def disturb(values: Tensor) -> Tensor:
            noise = torch.randn(values.shape, generator=generator).to(values)
            return values + config.noise * noise

        return (starts - delay).clamp(min=0), disturb if config.noise else None

    def validation_step(self, _: Tensor, index: int) -> None:
        """Log the CRPS of samples over the validation labels, mean over horizons."""
        config = self.network.config
        context = self.network.encoder.history(self.inputs, self.labels.validation_rows, config.bars_per_pass)
        samples = self.network.draw(context, self.labels.validation_start, config.training.validation_steps)
        drawn = samples.float().cpu().numpy()
        # Judge what would be forecast: with the mean as far shrunk as the labels demand, not with a lucky one.
        shrink = shrinkage(drawn, self.outcome, self.counted, self.overlap, config.adjustment)
        judged = Adjustment(shrink, np.ones_like(shrink)).apply(drawn)
        scores = validation_scores(judged.astype(np.float64), self.outcome, self.counted)
        for name, value in scores.items():
            self.log(f"validation_{name}", value, batch_size=1)

    def on_train_epoch_end(self) -> None:
        for name, values in self.history.items():
            values.append(float(self.trainer.callback_metrics[name]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = {name: list(values) for name, values in self.history.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = {name: list(values) for name, values in checkpoint["history"].items()}

    def configure_optimizers(self) -> Any:
        """AdamW with rates of their own for the head and for A and dt (never decayed), cosine annealing per step."""
        training = self.network.config.training
        groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            rate = training.head_lr if name.startswith("network.denoiser.") else training.lr
            decay = training.weight_decay if parameter.ndim >= 2 else 0.0
            if name.rsplit(".", 1)[-1] in DYNAMICS:
                rate, decay = training.dynamics_lr, 0.0
            groups.setdefault((rate, decay), []).append(parameter)
        optimiser = torch.optim.AdamW(
            [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()],
            lr=training.lr,
            betas=training.betas,
        )
        total = training.epochs * self.steps_per_epoch
        floor = training.lr_min / training.lr

        def annealed(step: int) -> float:
            return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, annealed)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def validation_scores(samples: Any, outcome: Any, counted: Any) -> dict[str, float]:
    """Return mean CRPS and RMSE over horizons of samples (rows, draws, horizons) on the counted labels."""
    crps, rmse = [], []
    for h in range(outcome.shape[1]):
        rows = counted[:, h]
        if rows.any():
            crps.append(float(sample_crps(samples[rows, :, h], outcome[rows, h]).mean()))
            rmse.append(float(np.sqrt(np.mean((samples[rows, :, h].mean(axis=1) - outcome[rows, h]) ** 2))))
    return {"crps": float(np.mean(crps)), "rmse": float(np.mean(rmse))}
