"""`run_training`: plan the work, train a lesson by Lightning, take a step back where the machine refuses one."""

from __future__ import annotations

import logging
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from fxgpt_core.common.errors import FxgptError, ModelError
from fxgpt_core.common.progress import Progress
from fxgpt_core.training.callbacks import LAST, AveragedWeights, Checkpoints, Patience, Reports
from fxgpt_core.training.course import LOSS, Course
from fxgpt_core.training.failures import first_line, is_out_of_memory
from fxgpt_core.training.gauge import Gauge
from fxgpt_core.training.lesson import Lesson, Stream
from fxgpt_core.training.measure import measure
from fxgpt_core.training.options import RunOptions
from fxgpt_core.training.plan import TrainingPlan
from fxgpt_core.training.ranks import Ranks, Tell, relayed
from fxgpt_core.training.settings import torch_settings
from fxgpt_core.training.watching import unwatched
from fxgpt_core.training.work import plan_work

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """Outcome of a run: `best` is the network's state with the lowest validated metric, `history` metrics by epoch.

    `best_epoch` counts from 0; `plan` is the plan as it was at the end, `notes` the steps back that were taken.
    """

    best: dict[str, Tensor]
    best_score: float
    best_epoch: int
    history: dict[str, list[float]]
    plan: TrainingPlan
    notes: tuple[str, ...]


def run_training(
    lesson: Lesson, stream: Stream, plan: TrainingPlan, options: RunOptions, progress: Progress
) -> Trained:
    """Train `lesson` on the batches of `stream`, as far as the machine lets it.

    Continues from `last.ckpt` in `plan.checkpoints` where there is one; the same run, killed at any moment and
    continued, ends with the same bits. Falls back, and says so in `notes`: out of memory to passes of half the size,
    then to recomputed activations, then to the CPU; a failed compilation to eager; several devices to one. Nothing is
    written outside `plan.checkpoints`. Raises ModelError when not even one item fits into memory.
    """
    with ExitStack() as stack:
        stack.enter_context(torch_settings(plan))
        plan = plan_work(plan, measure(lesson, stream, plan, options))
        torch.set_num_threads(plan.threads)
        _announce(plan, options.name)
        folder, watch = plan.checkpoints, plan.watch
        if folder is None and (plan.devices > 1 or plan.device != "cpu"):  # a step back starts from the last epoch
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if stream.batch is None:
            stream.batch = (plan.pass_items or 1) * plan.accumulation * plan.devices
        start = {name: value.detach().clone() for name, value in lesson.network.state_dict().items()}
        notes: tuple[str, ...] = ()
        gauge = stack.enter_context(Gauge()) if plan.device == "cuda" else None

        def tell(number: int, metrics: dict[str, float]) -> None:
            said = ", ".join(f"{name.replace('_', ' ')} {metrics[name]:.4f}" for name in (LOSS, lesson.metric))
            progress(options.name, number, options.epochs, said)
            watch.epoch(number, metrics if gauge is None else {**metrics, **gauge.take()})

        while True:
            try:
                return _attempt(lesson, stream, replace(plan, checkpoints=folder), options, tell, notes)
            except Exception as error:
                plan = _stepped_back(plan, error)
                notes = (*notes, plan.reasons[-1])
                log.warning("%s: %s", options.name, notes[-1])
            lesson.network.load_state_dict(start)
            lesson.to(plan.device)


def _announce(plan: TrainingPlan, name: str) -> None:
    log.info("%s: %s; %s", name, "; ".join(plan.reasons), plan.estimate)
    for warning in plan.warnings:
        log.warning("%s: %s", name, warning)
    plan.watch.planned((*plan.reasons, *plan.warnings), plan.to_dict())


def _stepped_back(plan: TrainingPlan, error: Exception) -> TrainingPlan:
    """Return the plan to go on with after a failed attempt; raises where there is none."""
    if plan.devices > 1 and not isinstance(error, FxgptError):
        items = (plan.pass_items or 1) * plan.accumulation * plan.devices
        passes = -(-items // (plan.pass_items or 1))
        why = f"one device: training on {plan.devices} failed, {first_line(error)}"
        return plan.because(why, devices=1, accumulation=passes, threads=plan.threads * plan.devices)
    if not is_out_of_memory(error):
        raise error
    if plan.device == "cuda":
        why = "CPU: not even one item fits into the memory of the device"
        return plan.because(why, device="cpu", precision="32-true", compile=None, attention=())
    raise ModelError(
        f"Training needs more memory than there is, even for one item at a time ({first_line(error)}): "
        "shorten segments, lower the width or number of layers, or leave columns out."
    ) from error


def _attempt(
    lesson: Lesson, stream: Stream, plan: TrainingPlan, options: RunOptions, tell: Tell, notes: tuple[str, ...]
) -> Trained:
    """Run Lightning once, from the last checkpoint where there is one."""
    course = Course(lesson, replace(plan, watch=unwatched), options, stream.batches)
    weights = AveragedWeights(options.average_decay, lesson.metric)
    folder, several = plan.checkpoints, plan.devices > 1
    resume = None if folder is None or not (folder / LAST).exists() else str(folder / LAST)
    lesson.to("cpu" if several else plan.device)  # spawned processes get the data by way of main memory
    try:
        with relayed(tell) if several else nullcontext(tell) as heard:
            _fit(_trainer(plan, options, _callbacks(weights, options, folder, heard)), course, stream, resume)
    finally:
        course.release()
    if several and folder is not None:  # what the processes learned is in the last checkpoint
        kept = torch.load(folder / LAST, map_location="cpu", weights_only=True)
        weights.load_state_dict(kept["callbacks"][weights.state_key])
        course.on_load_checkpoint(kept)
        course.release()
        lesson.to(plan.device)
    done = replace(plan, pass_items=course.pass_items, recompute=course.recomputing)
    return Trained(weights.best, weights.best_score, weights.best_epoch, course.history, done, (*notes, *course.notes))


def _callbacks(weights: AveragedWeights, options: RunOptions, folder: Path | None, tell: Tell) -> list[Callback]:
    stop = Patience(
        weights.metric, min_delta=options.min_delta, patience=options.patience, check_on_train_epoch_end=False
    )
    callbacks: list[Callback] = [weights, stop, Reports(tell)]
    return callbacks if folder is None else [*callbacks, Checkpoints(folder, options.checkpoint_every, weights)]


def _trainer(plan: TrainingPlan, options: RunOptions, callbacks: list[Callback]) -> Trainer:
    several = plan.devices > 1
    backend = "nccl" if plan.device == "cuda" else "gloo"
    return Trainer(
        accelerator="gpu" if plan.device == "cuda" else "cpu",
        devices=plan.devices,
        strategy=Ranks(start_method="spawn", process_group_backend=backend) if several else "auto",
        precision=plan.precision,  # type: ignore[arg-type]
        max_epochs=options.epochs,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=plan.checkpoints is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=plan.checkpoints,
    )


class Steps(IterableDataset[Tensor]):
    """The batches that are left of the epoch the course is in: a resumed run goes on where the checkpoint was."""

    def __init__(self, stream: Stream, course: Course) -> None:
        super().__init__()
        self.stream, self.course = stream, course

    def __len__(self) -> int:
        return self.stream.batches

    def __iter__(self) -> Iterator[Tensor]:
        # By steps: on resume, Lightning opens the stream before it advances its epoch counter.
        epoch, done = divmod(self.course.global_step, self.stream.batches)
        self.stream.epoch = partial(int, epoch)
        yield from islice(self.stream, done, None)


def _fit(trainer: Trainer, course: Course, stream: Stream, resume: str | None) -> None:
    """Run Lightning; an interrupt leaves as KeyboardInterrupt with the caller's handler, not as a process exit."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    dummy: DataLoader[Tensor] = DataLoader([torch.zeros(1)], batch_size=None)  # type: ignore[arg-type]
    loader: DataLoader[Tensor] = DataLoader(Steps(stream, course), batch_size=None)
    try:
        trainer.fit(course, loader, dummy, ckpt_path=resume)
    except SystemExit as stop:
        if trainer.interrupted:
            raise KeyboardInterrupt from stop
        raise
    finally:
        if main and handler is not None:
            signal.signal(signal.SIGINT, handler)
