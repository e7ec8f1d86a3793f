"""Lightning callbacks: averaged weights and the best of them, resumable checkpoints, reports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from torch import Tensor, nn

from fxgpt_core.training.control import PAUSE, asked, saved, wait_while_paused
from fxgpt_core.training.course import Course
from fxgpt_core.training.ranks import Tell

LAST, BEST = "last.ckpt", "best.ckpt"


class Patience(EarlyStopping):
    """Early stopping that a resumed run remembers: one that had run out of patience trains no further."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class AveragedWeights(Callback):
    """Exponential moving average of the weights; validation runs on it, and the best validated average is kept.

    Early in training the average follows faster: decay min(decay, (1 + n) / (10 + n)) after n steps, as in the
    TensorFlow moving average. `best` holds the network's state (averaged parameters, current buffers) with the lowest
    `metric` so far, by the names of the network.
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
            self.average = {name: p.detach().clone() for name, p in _network(pl_module).named_parameters()}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = trainer.global_step
        decay = min(self.decay, (1 + done) / (10 + done))
        for name, parameter in _network(pl_module).named_parameters():
            average = self.average[name] = self.average[name].to(parameter.device)
            average.lerp_(parameter.detach(), 1 - decay)

    @torch.no_grad()
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        network = _network(pl_module)
        self._training = {name: p.detach().clone() for name, p in network.named_parameters()}
        for name, parameter in network.named_parameters():
            parameter.copy_(self.average[name])

    @torch.no_grad()
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        network = _network(pl_module)
        score = float(trainer.callback_metrics[self.metric])
        if score < self.best_score:
            self.best_score, self.best_epoch = score, trainer.current_epoch
            self.best = {name: value.detach().clone() for name, value in network.state_dict().items()}
        for name, parameter in network.named_parameters():
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

    `last.ckpt` is also written within an epoch when the control file asks for it. Each file is written under a
    temporary name and renamed, so a kill at any moment leaves a readable `last.ckpt`.
    """

    def __init__(self, folder: Path, every: int, weights: AveragedWeights) -> None:
        self.folder, self.every, self.weights = folder, every, weights

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        wish = trainer.strategy.broadcast(asked(self.folder))  # all ranks save or none
        if not wish or trainer.is_last_batch:  # after the last step the epoch itself is saved
            return
        self._save(trainer, ())
        self._answer(trainer, wish)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        copies = [BEST] if self.weights.best_epoch == epoch else []
        copies += [f"epoch-{epoch + 1}.ckpt"] if (epoch + 1) % self.every == 0 else []
        self._save(trainer, copies)
        self._answer(trainer, trainer.strategy.broadcast(asked(self.folder)))

    def _answer(self, trainer: Trainer, wish: str) -> None:
        if trainer.is_global_zero:
            saved(self.folder)
            if wish == PAUSE:
                wait_while_paused(self.folder)
        if wish:
            trainer.strategy.barrier()

    def _save(self, trainer: Trainer, copies: list[str] | tuple[()]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / "partial.ckpt"
        trainer.save_checkpoint(partial)
        if not trainer.is_global_zero:
            return
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        for name in copies:
            (self.folder / name).unlink(missing_ok=True)
            os.link(partial, self.folder / name)
        partial.replace(self.folder / LAST)


class Reports(Callback):
    """Tells the number of each finished epoch (from 1) and its metrics, learning rate included."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Course)
        if not trainer.is_global_zero:
            return
        metrics = {name: values[-1] for name, values in pl_module.history.items()}
        metrics["learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        self.tell(trainer.current_epoch + 1, metrics)


def _network(module: LightningModule) -> nn.Module:
    assert isinstance(module, Course)
    return module.network
