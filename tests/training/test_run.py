import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from fxgpt_core.training.plan import TrainingPlan
from fxgpt_core.training.run import RunOptions, run_training
from fxgpt_core.training.segments import SegmentStream


class Ascent(LightningModule):
    """One weight that grows by 1 a step; its metric falls until the average passes 6, then rises."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return -self.weight.sum()

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.log("metric", (self.weight.sum() - 6).abs(), batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def train(plan: TrainingPlan, epochs: int = 20, patience: int = 3, progress=None):
    stream = SegmentStream(np.ones(64, dtype=bool), 64, 8, 0, lambda: 0)  # one step an epoch
    options = RunOptions("ascent", "metric", epochs, patience, 0.0, 0.0, 10.0, 4)
    seen: list[int] = []
    module = Ascent()
    weights = run_training(
        module, stream, plan, options, progress or (lambda w, done, total, note="": seen.append(done))
    )
    return module, weights, seen


def test_training_stops_early_and_keeps_the_best_average() -> None:
    _, weights, seen = train(TrainingPlan(seed=0))
    assert float(weights.best["weight"]) == pytest.approx(6.0)
    assert weights.best_score == pytest.approx(0.0)
    assert seen == list(range(1, 10))  # best at epoch 6, three without gain


def test_averaged_weights_lag_behind_and_validation_uses_them() -> None:
    stream = SegmentStream(np.ones(64, dtype=bool), 64, 8, 0, lambda: 0)
    module = Ascent()
    options = RunOptions("ascent", "metric", 4, 9, 0.0, 0.9, 10.0, 4)
    weights = run_training(module, stream, TrainingPlan(seed=0), options, lambda *_, **__: None)
    assert float(module.weight.detach()) == pytest.approx(4.0)  # training itself goes on with the raw weights
    assert 0 < float(weights.average["weight"]) < 4
    assert weights.best_score == pytest.approx(6 - float(weights.average["weight"]))


def test_checkpoints_lie_only_in_their_folder_and_a_run_continues_from_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    plan = TrainingPlan(seed=0, checkpoints=tmp_path / "checkpoints")
    train(plan, epochs=5)
    assert {file.name for file in plan.checkpoints.iterdir()} == {"last.ckpt", "best.ckpt", "epoch-4.ckpt"}
    _, weights, seen = train(plan, epochs=20)
    assert seen[0] == 6
    assert float(weights.best["weight"]) == pytest.approx(6.0)
    assert list(work.iterdir()) == []


def test_an_interrupt_arrives_as_keyboard_interrupt() -> None:
    def interrupt(what: str, done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    assert threading.current_thread() is threading.main_thread()
    import signal

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(TrainingPlan(seed=0), progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
