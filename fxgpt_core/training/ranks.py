"""Several devices: one spawned process per device, and what rank 0 has to say brought back to the caller."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from lightning.pytorch.strategies import DDPStrategy

Tell = Callable[[int, dict[str, float]], None]

_LISTEN_SECONDS = 0.05
_RENDEZVOUS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


class Ranks(DDPStrategy):
    """Lightning's data-parallel processes; gradients are exchanged by `Course`, once a step, not by a wrapper."""

    def setup_environment(self) -> None:
        """Join the group without a word: what there is to say goes through `Relay`."""
        silence()
        super().setup_environment()

    def configure_ddp(self) -> None:
        """Wrap nothing: every rank starts from the same pickled weights and applies the same summed gradients."""


class Relay:
    """Sends reports of epochs to the process that called `fit`."""

    def __init__(self, end: Connection) -> None:
        self.end = end

    def __call__(self, number: int, metrics: dict[str, float]) -> None:
        """Send one epoch; a message this short is written in one piece, so a kill leaves no half of it."""
        self.end.send((number, metrics))


@contextmanager
def relayed(tell: Tell) -> Iterator[Relay]:
    """Give a picklable stand-in for `tell`; what `tell` raises is raised when the context ends.

    Environment variables that a launch leaves behind are restored.
    """
    receive, send = get_context("spawn").Pipe(duplex=False)
    done, raised = threading.Event(), list[BaseException]()
    before = {name: os.environ.get(name) for name in _RENDEZVOUS}

    def listen() -> None:
        while receive.poll(_LISTEN_SECONDS) or not done.is_set():
            if not receive.poll(0):
                continue
            message = receive.recv()
            try:
                if not raised:
                    tell(*message)
            except BaseException as error:
                raised.append(error)

    thread = threading.Thread(target=listen, name="training reports", daemon=True)
    thread.start()
    try:
        yield Relay(send)
    finally:
        done.set()
        thread.join()
        receive.close()
        send.close()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    if raised:
        raise raised[0]


def silence() -> None:
    """Silence Lightning's banners and all warnings in this process."""
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
