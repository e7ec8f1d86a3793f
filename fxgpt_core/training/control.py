"""Pause, resume and save a running training from outside: a word in the file `control` of its checkpoint folder.

A file works on every platform, in threads and in spawned processes, over a shared disk and from any program, where a
signal does none of these:

    echo save  > CHECKPOINTS/control    # write last.ckpt after this step, then go on; the file is removed
    echo pause > CHECKPOINTS/control    # write last.ckpt after this step, then wait
    rm CHECKPOINTS/control              # go on

A paused run may be killed: what is trained next in that folder continues from the very step.
"""

from __future__ import annotations

import time
from pathlib import Path

CONTROL, SAVE, PAUSE = "control", "save", "pause"
_LOOK_SECONDS = 0.1


def asked(folder: Path) -> str:
    """Return the word in the control file: `save`, `pause`, or nothing where there is none or another one."""
    try:
        word = (folder / CONTROL).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    return word if word in (SAVE, PAUSE) else ""


def saved(folder: Path) -> None:
    """Say that a wish to save has been fulfilled by removing it."""
    if asked(folder) == SAVE:
        (folder / CONTROL).unlink(missing_ok=True)


def wait_while_paused(folder: Path) -> None:
    """Return once nobody asks for a pause any more."""
    while asked(folder) == PAUSE:
        time.sleep(_LOOK_SECONDS)
