"""`ObjectStorage`: `Storage` over object stores and other fsspec file systems, safe against several writers."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any, BinaryIO

from fxgpt_core.common.errors import FxgptError, StoreError
from fxgpt_core.store.lease import Lease
from fxgpt_core.store.objects import Conflict, MemoryObjects, Objects, PlainObjects, S3Objects
from fxgpt_core.store.storage import LOCKS, Change, Source, Swept

_LONGEST_WAIT = 0.5
_EXTRA = {"s3": "s3", "s3a": "s3"}


def open_object_storage(url: str, timeout: float, options: Mapping[str, Any]) -> ObjectStorage:
    """Return the storage at an fsspec URL; raises StoreError saying what to install or what is wrong with the URL."""
    import fsspec

    protocol, shown = url.split("://", 1)[0], _without_credentials(url)
    if protocol in _EXTRA:  # another process may have written since
        options = {"use_listings_cache": False, **options}
    try:
        fs, root = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        install = f"fxgpt[{_EXTRA[protocol]}]" if protocol in _EXTRA else str(error)
        raise StoreError(f"{shown} needs a package that is not installed: pip install '{install}'.") from error
    except (ValueError, TypeError, OSError) as error:
        raise StoreError(f"{shown} cannot be opened ({error}): give a folder or a URL that fsspec knows.") from error
    kinds: dict[str, type[PlainObjects]] = {"memory": MemoryObjects, "s3": S3Objects, "s3a": S3Objects}
    return ObjectStorage(kinds.get(protocol, PlainObjects)(fs), shown, str(root), timeout)


class ObjectStorage:
    """Objects under one prefix. Where puts can be conditional, `update` is read, change, put if unchanged, again;
    elsewhere it holds a lock object. `lock` is a `Lease`, and while it is held here nothing is written below its folder
    once it has run out."""

    def __init__(self, objects: Objects, url: str, prefix: str, timeout: float, lease_seconds: float = 15.0) -> None:
        self._objects, self._url, self._prefix = objects, url.rstrip("/"), prefix.rstrip("/")
        self._timeout, self._lease_seconds = timeout, lease_seconds
        self._held: dict[str, Lease] = {}
        self._verified = threading.Event()

    @property
    def root(self) -> str:
        return self._url

    def where(self, name: str) -> str:
        return f"{self._url}/{name}"

    def read(self, name: str) -> bytes:
        with self._said(name):
            return self._objects.get(self._path(name))[0]

    def source(self, name: str) -> Source:
        """One GET of the whole object: what several ranges would return might be of several versions."""
        return BytesIO(self.read(name))

    def open(self, name: str) -> tuple[BinaryIO, str]:
        with self._said(name):
            content, version = self._objects.get(self._path(name))
        return BytesIO(content), version

    def write(self, name: str, content: bytes) -> None:
        self._check_leases(name)
        with self._said(name, writing=True):
            self._objects.put(self._path(name), content)

    def update(self, name: str, change: Change) -> None:
        if not self._objects.conditional:
            with self.lock(name):
                self._attempt(name, change)
            return
        self.verify()
        deadline, wait = time.monotonic() + self._timeout, 0.01
        while True:
            try:
                self._attempt(name, change)
                return
            except Conflict as error:
                if time.monotonic() > deadline:
                    what = f"Other processes kept changing {self.where(name)} for {self._timeout:.0f} s"
                    raise StoreError(f"{what}; nothing was lost, run the same command again.") from error
            time.sleep(wait * (0.5 + time.monotonic_ns() // 1000 % 1000 / 1000))  # so that losers do not keep step
            wait = min(2 * wait, _LONGEST_WAIT)

    def exists(self, name: str) -> bool:
        path = self._path(name)
        with self._said(name):
            return path in self._objects.find(path.rsplit("/", 1)[0])

    def names(self, folder: str) -> list[str]:
        return sorted(self.versions(folder))

    def versions(self, folder: str) -> dict[str, str]:
        with self._said(folder):
            found = self._objects.find(self._path(folder))
        above, below = f"{self._prefix}/", f"{self._path(folder)}/"
        names = {path.removeprefix(above): version for path, version in found.items() if path.startswith(below)}
        return {name: version for name, version in names.items() if not name.startswith(f"{LOCKS}/")}

    def children(self, folder: str) -> list[str]:
        with self._said(folder):
            return sorted(name for name in self._objects.folders(self._path(folder)) if not name.startswith("."))

    def remove(self, name: str) -> None:
        self._check_leases(name)
        with suppress(FileNotFoundError), self._said(name):
            self._objects.remove(self._path(name))

    @contextmanager
    def lock(self, name: str, timeout: float | None = None) -> Iterator[None]:
        self.verify()
        path = self._path(f"{LOCKS}/{name}.lock")
        lease = Lease(self._objects, path, self._lease_seconds)
        with self._said(name, writing=True):
            lease.acquire(self._timeout if timeout is None else timeout)
        self._held[name] = lease
        try:
            yield
        finally:
            del self._held[name]
            lease.release()

    def sweep(self, break_locks: bool = False) -> Swept:
        """Killed writers leave no half objects, so only locks that the store cannot free are removed, when asked."""
        if self._objects.conditional or not break_locks:
            return Swept()
        found = self._objects.find(self._path(LOCKS))
        for path in found:
            with suppress(FileNotFoundError):
                self._objects.remove(path)
        return Swept(locks=len(found))

    def verify(self) -> None:
        """Check once that the store refuses what it must; raises StoreError where it would overwrite."""
        if self._verified.is_set():
            return
        path = self._path(f"{LOCKS}/probe-{uuid.uuid4().hex}")
        with self._said(LOCKS, writing=True):
            version = self._objects.create(path, b"1")
            refused = self._refuses(lambda: self._objects.create(path, b"2"))
            if self._objects.conditional:
                self._objects.replace(path, b"3", version)
                refused &= self._refuses(lambda: self._objects.replace(path, b"4", version))
            self._objects.remove(path)
        if not refused:
            raise StoreError(
                f"{self._url} overwrites objects that it was asked not to, so two writers could lose rows: use S3, a "
                "store with conditional puts, or a folder."
            )
        self._verified.set()

    def _refuses(self, put: Any) -> bool:
        try:
            put()
        except Conflict:
            return True
        return False

    def _attempt(self, name: str, change: Change) -> None:
        path, old, version = self._path(name), None, ""
        with suppress(FileNotFoundError), self._said(name):
            old, version = self._objects.get(path)
        content = change(None if old is None else BytesIO(old))
        if content is None:
            return
        self._check_leases(name)
        with self._said(name, writing=True):
            if not self._objects.conditional:
                self._objects.put(path, content)
            elif old is None:
                self._objects.create(path, content)
            else:
                self._objects.replace(path, content, version)

    def _check_leases(self, name: str) -> None:
        """Refuse to write below the folder of a lock that was held here and has run out."""
        for held, lease in list(self._held.items()):
            if name.startswith(held.rsplit("/", 1)[0] + "/"):
                lease.check()

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}".rstrip("/")

    @contextmanager
    def _said(self, name: str, writing: bool = False) -> Iterator[None]:
        """Turn what the store raises into a StoreError; what is not there is the reader's business."""
        try:
            yield
        except (FxgptError, Conflict):
            raise
        except FileNotFoundError as error:
            if not writing:
                raise
            raise StoreError(f"{self.where(name)} cannot be written: {error}.") from error
        except Exception as error:  # every store has its own
            verb = "written" if writing else "read"
            text = " ".join(str(error).split())
            raise StoreError(f"{self.where(name)} cannot be {verb}: {type(error).__name__}: {text}.") from error


def _without_credentials(url: str) -> str:
    """Return a URL as messages may show it."""
    return re.sub(r"://[^/@]*@", "://…@", url.split("?", 1)[0])
