"""Several processes by the same plan: disjoint items, the result of one process, a way back when they fail."""

import os
from pathlib import Path

import pytest
import torch
from toy import Regression, train

from fxgpt_core.training.hardware import GIB, Hardware
from fxgpt_core.training.plan import TrainingPlan, plan_training
from fxgpt_core.training.ranks import relayed
from fxgpt_core.training.wishes import Wishes

PAIR = Hardware(2, 4 * GIB)


class Written(Regression):
    """Writes the items of every pass to a file of its process."""

    folder: Path

    def loss(self, items: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        with (self.folder / str(os.getpid())).open("a") as file:
            file.write(" ".join(map(str, items.tolist())) + "\n")
        return super().loss(items, keys)


class Lost(Regression):
    """Fails in every process but the first one that made it."""

    def loss(self, items: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        if os.getpid() != self.owner and len(self.sizes) > 9:
            os.kill(os.getpid(), 9)
        return super().loss(items, keys)


def two() -> TrainingPlan:
    return plan_training(1, hardware=PAIR, wishes=Wishes(devices=2))


@pytest.mark.deep
def test_two_processes_share_each_step_and_learn_what_one_learns(tmp_path: Path) -> None:
    lesson = Written()
    lesson.folder = tmp_path
    heard: list[int] = []
    before = dict(os.environ)
    found = train(two(), lesson, progress=lambda what, done, total, note="": heard.append(done))
    assert (found.plan.devices, found.notes, heard) == (2, (), [1, 2, 3, 4])
    one = train(plan_training(1, hardware=PAIR))
    for name, value in one.best.items():
        torch.testing.assert_close(found.best[name], value, rtol=1e-4, atol=1e-6)
    assert found.history["train_loss"] == pytest.approx(one.history["train_loss"], rel=1e-5)
    (tmp_path / str(os.getpid())).unlink()  # measured before the start
    ranks = [[set(map(int, line.split())) for line in file.read_text().splitlines()] for file in tmp_path.iterdir()]
    assert [len(rank) for rank in ranks] == [24, 24]
    assert all(not a & b and len(a | b) == 8 for a, b in zip(*ranks, strict=True))
    assert dict(os.environ) == before


@pytest.mark.deep
def test_lost_processes_leave_one_that_goes_on_from_the_last_epoch(tmp_path: Path) -> None:
    lesson = Lost()
    lesson.owner = os.getpid()
    heard: list[int] = []
    found = train(two(), lesson, progress=lambda what, done, total, note="": heard.append(done))
    assert "one device: training on 2 failed, ProcessExitedException" in found.notes[0]
    assert heard == [1, 2, 3, 4]  # nothing is done twice: epoch 1 was in the checkpoint of the lost processes
    for name, value in train(plan_training(1, hardware=PAIR)).best.items():
        torch.testing.assert_close(found.best[name], value, rtol=1e-4, atol=1e-6)


def test_a_lesson_that_cannot_travel_is_trained_by_one_process() -> None:
    lesson = Regression()
    lesson.unpicklable = lambda: None
    found = train(two(), lesson)
    assert found.plan.devices == 1
    assert "one device: training on 2 failed" in found.notes[0]
    for name, value in train(plan_training(1, hardware=PAIR)).best.items():
        torch.testing.assert_close(found.best[name], value, rtol=1e-4, atol=1e-6)


def test_reports_reach_the_caller_and_what_the_caller_raises_comes_back() -> None:
    heard: list[int] = []

    def tell(number: int, metrics: dict[str, float]) -> None:
        heard.append(number)
        if number == 3:
            raise KeyError(number)

    def run() -> None:
        with relayed(tell) as relay:
            for number in (1, 2, 3, 4):
                relay(number, {"loss": 1.0})

    with pytest.raises(KeyError):
        run()
    assert heard == [1, 2, 3]
