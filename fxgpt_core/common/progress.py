"""How long work reports where it stands, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as work advances: `progress("sssd fold 2/5", done=3, total=40, note="crps 0.51")`."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None: ...


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """Report nothing; the default of every function that takes a `Progress`."""
