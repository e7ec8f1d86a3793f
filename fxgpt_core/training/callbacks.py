"""Lightning callbacks: averaged weights, the best of them, resumable checkpoints, progress."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from fxgpt_core.common.progress import Progress

LAST, BEST = "last.ckpt", "best.ckpt"


class AveragedWeights(Callback):
    """Exponential moving average of the weights; validation runs on it, and the best validated average is kept.

    Early in training the average follows faster: decay min(decay, (1 + n) / (10 + n)) after n steps, as in the
    TensorFlow moving average. `best` holds the weights with the lowest `metric` so far.
    """

    def __init__(self, decay: float, metric: str) -> None:
        self.decay, self.metric = decay, metric
        self.average: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] = {}
        self.best_score = float("inf")
        self.best_epoch = -1
        self._training: dict[str, Tensor] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not self.average:
            self.average = {name: p.detach().clone() for name, p in pl_module.named_parameters()}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = trainer.global_step
        decay = min(self.decay, (1 + done) / (10 + done))
        for name, parameter in pl_module.named_parameters():
            average = self.average[name] = self.average[name].to(parameter.device)
            average.lerp_(parameter.detach(), 1 - decay)

    @torch.no_grad()
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._training = {name: p.detach().clone() for name, p in pl_module.named_parameters()}
        for name, parameter in pl_module.named_parameters():
            parameter.copy_(self.average[name])

    @torch.no_grad()
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = float(trainer.callback_metrics[self.metric])
        if score < self.best_score:
            self.best_score, self.best_epoch = score, trainer.current_epoch
            self.best = {name: average.clone() for name, average in self.average.items()}
        for name, parameter in pl_module.named_parameters():
            parameter.copy_(self._training[name])
        self._training = {}

    def state_dict(self) -> dict[str, Any]:
        return {
            "average": self.average,
            "best": self.best,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.average, self.best = state_dict["average"], state_dict["best"]
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]


class Checkpoints(Checkpoint):
    """Writes `last.ckpt` after every epoch, `best.ckpt` when `weights` improved, `epoch-<n>.ckpt` every `every` epochs.

    Each file is written under a temporary name and renamed, so a kill at any moment leaves a readable `last.ckpt`.
    """

    def __init__(self, folder: Path, every: int, weights: AveragedWeights) -> None:
        self.folder, self.every, self.weights = folder, every, weights

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / "partial.ckpt"
        trainer.save_checkpoint(partial)
        copies = [BEST] if self.weights.best_epoch == epoch else []
        copies += [f"epoch-{epoch + 1}.ckpt"] if (epoch + 1) % self.every == 0 else []
        for name in copies:
            (self.folder / name).unlink(missing_ok=True)
            os.link(partial, self.folder / name)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(self.folder / LAST)


class EpochProgress(Callback):
    """Passes epochs and the validation metric on to our `Progress`."""

    def __init__(self, progress: Progress, what: str, epochs: int, metric: str) -> None:
        self.progress, self.what, self.epochs, self.metric = progress, what, epochs, metric

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = float(trainer.callback_metrics.get(self.metric, float("nan")))
        self.progress(self.what, trainer.current_epoch + 1, self.epochs, f"validation crps {score:.4f}")
