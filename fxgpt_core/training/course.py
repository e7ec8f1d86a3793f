"""`Course`: the Lightning module that trains any `Lesson`, one optimiser step per batch, however it has to be cut.

A batch is cut into passes and over ranks; gradients are summed with each part's share of the label weights, so the
result is that of the whole batch. Ranks exchange gradients once, after their passes: a rank that runs out of memory
halves its passes and does the step again without the others waiting in the middle of a backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from fxgpt_core.common.errors import ModelError
from fxgpt_core.training.failures import first_line, is_out_of_memory
from fxgpt_core.training.lesson import Lesson
from fxgpt_core.training.options import RunOptions
from fxgpt_core.training.plan import TrainingPlan
from fxgpt_core.training.recompute import keep, recompute
from fxgpt_core.training.settings import attention_kernels, seed_dropout

LOSS = "train_loss"


class Course(LightningModule):
    """Trains `lesson.network` by `plan`; everything random in a step depends on (seed, step, position in batch) alone.

    `history` holds the metrics by epoch, `notes` every step back that had to be taken.
    """

    def __init__(self, lesson: Lesson, plan: TrainingPlan, options: RunOptions, batches: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.lesson, self.plan, self.options, self.batches = lesson, plan, options, batches
        self.network = lesson.network
        self.pass_items = plan.pass_items
        self.recomputing, self.compiling, self.parts = plan.recompute, plan.compile is not None, 1
        self.history: dict[str, list[float]] = {}
        self.notes: list[str] = []
        self._loss: Callable[[Tensor, Tensor], Tensor] | None = None
        self._sum = torch.zeros((), dtype=torch.float64)  # of this epoch's losses, this rank's part
        self._renewed = -1  # epoch that the lesson has renewed itself for
        self._begun: tuple[int, dict[str, Tensor]] = (-1, {})  # an epoch and the weights it began with, if they matter

    def setup(self, stage: str) -> None:
        """Put the data where the network is; runs in every process."""
        if self.trainer.world_size > 1:
            torch.set_num_threads(self.plan.threads)
        self.lesson.to(self.trainer.strategy.root_device)
        # Made here: a tensor that travelled to a spawned process would be shared by all of them.
        self._sum = torch.zeros((), dtype=torch.float64, device=self.trainer.strategy.root_device)
        if self.recomputing:
            recompute(self.lesson.blocks())
        if self.plan.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def release(self) -> None:
        """Leave the network as it was found, apart from its weights."""
        keep(self.lesson.blocks())

    def configure_optimizers(self) -> Any:
        """AdamW over the lesson's groups, cosine annealing per step down to `lr_min` (Loshchilov & Hutter 2017)."""
        options, total = self.options, self.options.epochs * self.batches
        optimiser = torch.optim.AdamW(self.lesson.groups(), betas=options.betas, fused=self.plan.fused)
        floors = [min(options.lr_min / group["lr"], 1.0) for group in optimiser.param_groups]
        factors: list[Callable[[int], float]] = [partial(_annealed, total=total, floor=floor) for floor in floors]
        return [optimiser], [torch.optim.lr_scheduler.LambdaLR(optimiser, factors)]

    def on_train_epoch_start(self) -> None:
        self.network.train()  # Lightning leaves modes as it finds them, and without this dropout would stay off

    def training_step(self, items: Tensor, index: int) -> None:
        """Do one optimiser step over the whole batch `items` (items,), of which this rank takes every n-th."""
        self._renew(self.global_step // self.batches)
        keys = self._keys(len(items))
        weights = self.lesson.weights(items).to(torch.float32)
        shares = weights / weights.sum().clamp(min=1e-8)
        mine = slice(self.global_rank, None, self.trainer.world_size)
        loss = self._passes_with_fallback(items[mine], keys[mine], shares[mine])
        self._reduce_gradients()
        optimiser, scheduler = self.optimizers(), self.lr_schedulers()
        optimiser.step()  # type: ignore[union-attr, call-arg]
        scheduler.step()  # type: ignore[union-attr, call-arg]
        self._sum += loss

    @torch.no_grad()
    def _renew(self, epoch: int) -> None:
        """Let the lesson renew what it keeps of the weights, with those that the epoch began with."""
        if self._renewed == epoch:
            return
        self._renewed, now = epoch, {name: p.detach().clone() for name, p in self.network.named_parameters()}
        begun = self._begun[1] if self._begun[0] == epoch else {}
        for name, parameter in self.network.named_parameters():
            parameter.copy_(begun.get(name, parameter))
        with torch.autocast(self.device.type, enabled=False):
            renewed = self.lesson.renew()
        self._begun = (epoch, begun or now) if renewed else (-1, {})
        for name, parameter in self.network.named_parameters():
            parameter.copy_(now[name])

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        # Here, since gradients of mixed precision are unscaled only now.
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.options.gradient_clip)

    def _keys(self, count: int) -> Tensor:
        """Return one random key per item of this step, (items,) int64 on the CPU."""
        step = (self.plan.seed * 1_000_003 + self.global_step) % 2**40
        return step * 65_537 + torch.arange(count)

    def _passes_with_fallback(self, items: Tensor, keys: Tensor, shares: Tensor) -> Tensor:
        while True:
            self.network.zero_grad(set_to_none=True)
            try:
                return self._passes(items, keys, shares)
            except Exception as error:
                if not self._made_smaller(error, len(items)):
                    raise
            if self.device.type == "cuda":  # outside `except`: the traceback would keep the activations alive
                torch.cuda.empty_cache()

    def _passes(self, items: Tensor, keys: Tensor, shares: Tensor) -> Tensor:
        """Run all passes forward and backward and return the loss weighed by their shares, a scalar."""
        loss, size = torch.zeros_like(self._sum), self.pass_items or max(len(items), 1)
        for at in range(0, len(items), size):
            part = slice(at, at + size)
            seed_dropout(int(keys[at]), self.device)
            with attention_kernels(self.plan.attention):
                value = self._objective()(items[part], keys[part]) * shares[part].sum()
            with torch.autocast(self.device.type, enabled=False):
                self.manual_backward(value)
            loss += value.detach()
        return loss

    def _objective(self) -> Callable[[Tensor, Tensor], Tensor]:
        if self._loss is None:
            compiled = self.compiling and self.plan.compile is not None
            self._loss = torch.compile(self.lesson.loss, mode=self.plan.compile) if compiled else self.lesson.loss
        return self._loss

    def _made_smaller(self, error: Exception, items: int) -> bool:
        """Take one step back from what failed and return True, or False where there is nothing left to take back."""
        step, size = self.global_step + 1, self.pass_items or items
        if is_out_of_memory(error):
            if size > 1:
                self.pass_items = -(-size // 2)
                self._note(f"out of memory in step {step}: passes of {self.pass_items} instead of {size} items")
            elif not self.recomputing and self.lesson.blocks():
                self.recomputing = True
                recompute(self.lesson.blocks())
                self._note(f"out of memory in step {step} with one item: activations are recomputed")
            else:
                return False
            return True
        if self.compiling:
            self.compiling, self._loss = False, None
            self._note(f"eager from step {step} on, the compiled step failed: {first_line(error)}")
            return True
        return False

    def _note(self, note: str) -> None:
        self.notes.append(note)

    def _reduce_gradients(self) -> None:
        """Sum gradients over ranks, in one exchange; shares are of the whole batch, so the sum is its gradient."""
        if self.trainer.world_size == 1:
            return
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
        torch.distributed.all_reduce(flat)
        for p, part in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
            p.grad = part.view_as(p)

    def validation_step(self, _: Tensor, index: int) -> None:
        """Log and keep the epoch's metrics: rank 0 computes them, so that all ranks stop at the same epoch."""
        metrics = self._validated() if self.global_rank == 0 else {}
        metrics = self.trainer.strategy.broadcast(metrics)
        if self.lesson.metric not in metrics:
            raise ModelError(
                f"Validation gave {', '.join(metrics)}, but stops by {self.lesson.metric}: name one of them."
            )
        loss = self._sum.clone()
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(loss)
        self._sum.zero_()
        for name, value in {LOSS: float(loss) / self.batches, **metrics}.items():
            self.history.setdefault(name, []).append(value)
            self.log(name, value, batch_size=1)

    def _validated(self) -> dict[str, float]:
        while True:
            try:
                with torch.autocast(self.device.type, enabled=False):
                    return {name: float(value) for name, value in self.lesson.validate(self.parts).items()}
            except Exception as error:
                if not is_out_of_memory(error) or self.parts >= 1024:
                    raise
                self.parts *= 2
                self._note(f"out of memory in validation: worked in {self.parts} parts")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["course"] = {
            "history": {name: list(values) for name, values in self.history.items()},
            "notes": list(self.notes),
            "sum": self._sum.cpu(),
            "pass_items": self.pass_items,
            "recomputing": self.recomputing,
            "compiling": self.compiling,
            "parts": self.parts,
            "threads": torch.get_num_threads(),
            "begun": self._begun,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint["course"]
        self.history = {name: list(values) for name, values in kept["history"].items()}
        self.notes = list(kept["notes"])
        self._sum = kept["sum"].to(self._sum.device)
        self._begun = (int(kept["begun"][0]), dict(kept["begun"][1]))
        # Cut as the interrupted run did, so that its continuation has the same bits.
        torch.set_num_threads(kept["threads"])
        self.pass_items, self.parts = kept["pass_items"], kept["parts"]
        self.recomputing, self.compiling = kept["recomputing"], kept["compiling"] and self.compiling
        (recompute if self.recomputing else keep)(self.lesson.blocks())


def _annealed(step: int, total: int, floor: float) -> float:
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))
