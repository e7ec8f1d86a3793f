"""`run_training`: one quiet Lightning run with averaged weights, early stopping, checkpoints and resume."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor
from torch.utils.data import DataLoader

from fxgpt_core.common.progress import Progress
from fxgpt_core.training.callbacks import LAST, AveragedWeights, Checkpoints, EpochProgress
from fxgpt_core.training.plan import TrainingPlan
from fxgpt_core.training.segments import SegmentStream


@dataclass(frozen=True)
class RunOptions:
    """How long and how: epochs, early stopping on `metric` (lower is better), averaging, clipping, checkpoints."""

    name: str
    metric: str
    epochs: int
    patience: int
    min_delta: float
    average_decay: float
    gradient_clip: float
    checkpoint_every: int


@contextmanager
def quiet_torch(threads: int) -> Iterator[None]:
    """Silence Lightning's banners and warnings, use `threads` threads and leave global random state as it was."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels, before = [logger.level for logger in loggers], torch.get_num_threads()
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def run_training(
    module: LightningModule,
    segments: SegmentStream,
    plan: TrainingPlan,
    options: RunOptions,
    progress: Progress,
    extra: tuple[Callback, ...] = (),
) -> AveragedWeights:
    """Train `module` and return its averaged weights, the best under `best`.

    Continues from `last.ckpt` in `plan.checkpoints` when there is one. The module validates on one dummy batch and
    logs `options.metric` there. Nothing is written outside `plan.checkpoints`.
    """
    weights = AveragedWeights(options.average_decay, options.metric)
    callbacks: list[Callback] = [
        weights,
        EarlyStopping(
            options.metric, min_delta=options.min_delta, patience=options.patience, check_on_train_epoch_end=False
        ),
        EpochProgress(progress, options.name, options.epochs, options.metric),
        *extra,
    ]
    resume = None
    if plan.checkpoints is not None:
        callbacks.append(Checkpoints(plan.checkpoints, options.checkpoint_every, weights))
        resume = plan.checkpoints / LAST if (plan.checkpoints / LAST).exists() else None
    with quiet_torch(plan.threads):
        trainer = Trainer(
            accelerator="gpu" if plan.device.startswith("cuda") else "cpu",
            devices=1,
            precision=plan.precision,  # type: ignore[arg-type]
            max_epochs=options.epochs,
            gradient_clip_val=options.gradient_clip,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=plan.checkpoints is not None,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=plan.checkpoints,
        )
        _fit(trainer, module, segments, None if resume is None else str(resume))
    return weights


def _fit(trainer: Trainer, module: LightningModule, segments: SegmentStream, resume: str | None) -> None:
    """Run Lightning; an interrupt leaves as KeyboardInterrupt with the caller's handler, not as a process exit."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    dummy: DataLoader[Tensor] = DataLoader([torch.zeros(1)], batch_size=None)  # type: ignore[arg-type]
    loader: DataLoader[Tensor] = DataLoader(segments, batch_size=None)
    try:
        trainer.fit(module, loader, dummy, ckpt_path=resume)
    except SystemExit as stop:
        if trainer.interrupted:
            raise KeyboardInterrupt from stop
        raise
    finally:
        if main and handler is not None:
            signal.signal(signal.SIGINT, handler)
