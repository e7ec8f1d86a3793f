"""`Lease`: a lock as an object in a store, held by renewing it, taken over when its holder has died.

The object says who holds it and for how many seconds a renewal lasts. A waiter that has seen the same version for that
long, by its own monotonic clock, takes over by a put that fails where the version changed after all; so no two machines
need the same time. A holder that could not renew in time knows it, and its storage refuses to write.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.objects import Conflict, Objects

FREE = ""
_FIRST_WAIT, _LONGEST_WAIT = 0.02, 1.0


@dataclass
class _Seen:
    """A version that a waiter looks at, and since when (monotonic seconds)."""

    version: str
    since: float


class Lease:
    """One lock object at `path`; `seconds` is how long a renewal lasts. Each is used once."""

    def __init__(
        self, objects: Objects, path: str, seconds: float = 15.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._objects, self._path, self._seconds, self._now = objects, path, seconds, now
        self.owner = f"{socket.gethostname()}-{uuid.uuid4().hex}"
        self._version, self._renewed_at, self._renewals = "", 0.0, 0
        self._lost = False
        self._released = threading.Event()

    def acquire(self, timeout: float) -> None:
        """Hold the lease from here to `release`; raises StoreError when it was not to be had within `timeout` s."""
        self._acquire(timeout)
        self._renewing = threading.Thread(target=self._keep_renewing, name=f"lease {self._path}", daemon=True)
        self._renewing.start()

    def release(self) -> None:
        """Free the lease unless it is another's by now."""
        self._released.set()
        self._renewing.join()
        if not self._objects.conditional:
            with suppress(FileNotFoundError):
                self._objects.remove(self._path)
            return
        # Marked free, never deleted: a slow holder must not delete another's. Else it is free when it runs out.
        with suppress(Exception):
            self._objects.replace(self._path, self._content(FREE), self._version)

    def check(self) -> None:
        """Raise StoreError when the lease has run out: another writer may be at work."""
        if self._lost or (self._objects.conditional and self._now() - self._renewed_at > self._seconds):
            raise StoreError(
                f"The lock {self._path} could not be renewed for {self._seconds:.0f} s and may be another's by now; "
                "nothing more was written: run the same command again."
            )

    def _acquire(self, timeout: float) -> None:
        deadline, wait, seen = self._now() + timeout, _FIRST_WAIT, None
        while True:
            at = self._now()
            try:
                taken, seen = self._try(seen)
            except Conflict:
                taken = False
            if taken:
                self._renewed_at = at
                return
            if self._now() >= deadline:
                self._give_up(timeout)
            time.sleep(min(wait, max(deadline - self._now(), 0.001)))
            wait = min(wait * 1.5, _LONGEST_WAIT)

    def _try(self, seen: _Seen | None) -> tuple[bool, _Seen | None]:
        """Take the lease where it is free, or was not renewed in time; return whether, and what is there now."""
        try:
            content, version = self._objects.get(self._path)
        except FileNotFoundError:
            self._version = self._objects.create(self._path, self._content(self.owner))
            return True, None
        if not self._objects.conditional:
            return _owner(content) == self.owner, None
        free = _owner(content) in (FREE, self.owner)  # our own: the answer to our put was lost on the way
        if seen is None or seen.version != version:
            seen = _Seen(version, self._now())
        if not free and self._now() - seen.since <= _seconds(content, self._seconds):
            return False, seen
        self._version = self._objects.replace(self._path, self._content(self.owner), version)
        return True, None

    def _give_up(self, timeout: float) -> None:
        what = "another process is writing there"
        if not self._objects.conditional:
            what += (
                "; or one was killed, which this store cannot tell: when nothing writes any more, run "
                "`fxgpt lake compact --break-locks`"
            )
        raise StoreError(f"Waited {timeout:.0f} s for {self._path}: {what}.")

    def _keep_renewing(self) -> None:
        while self._objects.conditional and not self._lost and not self._released.wait(self._seconds / 4):
            with suppress(Exception):  # every store has its own errors; if they last, `check` says so
                self._renew()

    def _renew(self) -> None:
        at = self._now()
        self._renewals += 1
        try:
            self._version = self._objects.replace(self._path, self._content(self.owner), self._version)
            self._renewed_at = at
        except Conflict:
            self._lost = not self._still_mine()
            if not self._lost:
                self._renewed_at = at

    def _still_mine(self) -> bool:
        """Tell whether the object names this owner, as after a renewal whose answer was lost."""
        try:
            content, self._version = self._objects.get(self._path)
        except FileNotFoundError:
            return False
        return _owner(content) == self.owner

    def _content(self, owner: str) -> bytes:
        return json.dumps({"owner": owner, "seconds": self._seconds, "renewals": self._renewals}).encode()


def _owner(content: bytes) -> str | None:
    try:
        return str(json.loads(content)["owner"])
    except (ValueError, KeyError, TypeError):
        return None


def _seconds(content: bytes, default: float) -> float:
    try:
        return float(json.loads(content)["seconds"])
    except (ValueError, KeyError, TypeError):
        return default
