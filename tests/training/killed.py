"""Train the toy lesson in the folder given, slowly, saying each epoch: to be killed by a test."""

import sys
import time
from pathlib import Path

from toy import Regression, save_soon, train

from fxgpt_core.training.plan import TrainingPlan


def slow(lesson: Regression, items: object) -> None:
    """Ask for a checkpoint in the fourth epoch, say so once the next step has begun, and take some time over steps."""
    if len(lesson.sizes) == 3 + 18 + 2:
        save_soon(folder)
    if len(lesson.sizes) == 3 + 18 + 4:
        print("within an epoch", flush=True)
    if len(lesson.sizes) > 3 + 18 + 3:
        time.sleep(60)


folder = Path(sys.argv[1])
train(TrainingPlan(seed=1, checkpoints=folder), Regression(dropout=0.2, trouble=slow), epochs=6)
