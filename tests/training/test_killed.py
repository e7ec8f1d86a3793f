"""kill -9 of a real process: what is trained next in its folder ends with the same bits."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from toy import Regression, same, train

from fxgpt_core.training.plan import TrainingPlan

PLAN = TrainingPlan(seed=1)


def test_a_process_killed_within_an_epoch_is_continued_bit_for_bit(tmp_path: Path) -> None:
    folder, here = tmp_path / "run", Path(__file__).parent
    paths = [str(here), str(here.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(here / "killed.py"), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout.readline() == "within an epoch\n"
        process.kill()
        assert process.wait() == -9
    assert {"last.ckpt", "epoch-2.ckpt"} <= {file.name for file in folder.iterdir()}
    lesson, heard = Regression(seed=7, dropout=0.2), []
    plan = replace(PLAN, checkpoints=folder)
    continued = train(plan, lesson, progress=lambda what, done, total, note="": heard.append(done), epochs=6)
    assert heard == [4, 5, 6]
    assert len(lesson.sizes) == 3 + 36 - 18 - 2  # from the second step of the fourth epoch on
    assert same(continued, train(PLAN, Regression(dropout=0.2), epochs=6))
