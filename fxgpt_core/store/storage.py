"""`Storage`: whole files under one root, replaced atomically; a local folder here, object stores in `object_storage`.

The root is a path or any fsspec URL. What each kind of root promises:

| root | a reader sees | several writers of one file |
|---|---|---|
| folder, `file://` | the old file or the new one (temporary name, fsync, rename) | wait for a file lock |
| `s3://` | the old object or the new one | conditional puts: whoever loses reads again and merges again |
| `memory://` | the old or the new one | the same, within the one process that has this memory |
| other URLs | what the store promises for one put | one at a time, by a lock object created exclusively |
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from filelock import FileLock, Timeout

from fxgpt_core.common.errors import StoreError

LOCKS = ".locks"
_TEMPORARY = ".tmp"

Source = Path | BytesIO
"""A file at one moment, as Parquet readers take it: a local path, or the content itself."""

Change = Callable[[Source | None], bytes | None]
"""From a file's content (None: there is none) to its new content (None: leave it)."""


@dataclass(frozen=True)
class Swept:
    """What `Storage.sweep` removed: leftovers of killed writers, and locks that nobody holds."""

    leftovers: tuple[str, ...] = ()
    locks: int = 0


class Storage(Protocol):
    """Files under one root, by names with forward slashes relative to it; every method raises StoreError where the
    store itself refuses, and those that read raise FileNotFoundError for what is not there."""

    @property
    def root(self) -> Path | str:
        """The folder, or the URL without credentials."""
        ...

    def where(self, name: str) -> str:
        """Return a file's place for messages."""
        ...

    def read(self, name: str) -> bytes:
        """Return the content."""
        ...

    def source(self, name: str) -> Source:
        """Return the content for readers that seek; a later replacement does not reach who has it open."""
        ...

    def open(self, name: str) -> tuple[BinaryIO, str]:
        """Return the content at one moment, opened, and its version as `versions` lists it."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Replace a file, whole."""
        ...

    def update(self, name: str, change: Change) -> None:
        """Replace a file by `change` of its content, so that no other writer's change is lost.

        `change` may be called again with newer content where another writer came first.
        """
        ...

    def exists(self, name: str) -> bool:
        """Tell whether the file is there."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, sorted, without locks; empty where there is no such folder."""
        ...

    def versions(self, folder: str) -> dict[str, str]:
        """Return the same names, each with what changes whenever the content does ("" where the store has no such)."""
        ...

    def children(self, folder: str) -> list[str]:
        """Return the names of the folders directly in a folder, sorted."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file if it is there."""
        ...

    def lock(self, name: str, timeout: float | None = None) -> Any:
        """Return a context manager that holds a lock by name over all writers; not reentrant.

        `timeout`: seconds to wait for it, by default those of the storage.
        """
        ...

    def sweep(self, break_locks: bool = False) -> Swept:
        """Remove what killed writers left, disturbing no living one.

        `break_locks` removes even the locks that living writers might hold, where the store cannot tell.
        """
        ...


def open_storage(root: str | Path, timeout: float, options: Mapping[str, Any] | None = None) -> Storage:
    """Return the storage at a path or URL; `timeout` (seconds) is how long a writer waits for another one.

    `options` go to the fsspec file system. Credentials come from the environment (AWS_*, AWS_ENDPOINT_URL) or from
    `options`, and appear in no message. Raises StoreError saying what to install where the URL needs it.
    """
    text = str(root)
    if "://" in text and not text.startswith(("file://", "local://")):
        from fxgpt_core.store.object_storage import open_object_storage

        return open_object_storage(text, timeout, options or {})
    return LocalStorage(Path(text.split("://", 1)[-1]), timeout)


def safe_name(value: str) -> str:
    """Return the name of a file or folder, refusing what would leave its folder; raises StoreError."""
    if not value or value.startswith(".") or "/" in value or "\\" in value:
        raise StoreError(f"{value!r} cannot be a folder of the lake.")
    return value


def is_leftover(name: str) -> bool:
    """Tell whether a file is one that a writer of ours was killed over: a temporary name."""
    file = name.rsplit("/", 1)[-1]
    return file.startswith(".") and (file.endswith(_TEMPORARY) or file.startswith(".document.json."))


class LocalStorage:
    """A local folder: temporary name, fsync, rename, under one lock a file."""

    def __init__(self, root: Path, timeout: float) -> None:
        self._root, self._timeout = root, timeout

    @property
    def root(self) -> Path:
        return self._root

    def where(self, name: str) -> str:
        return str(self._root / name)

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def source(self, name: str) -> Source:
        return self._root / name

    def open(self, name: str) -> tuple[BinaryIO, str]:
        file = (self._root / name).open("rb", buffering=0)
        return cast(BinaryIO, file), _version(os.fstat(file.fileno()))

    def write(self, name: str, content: bytes) -> None:
        with self.lock(name):
            self._replace(name, content)

    def update(self, name: str, change: Change) -> None:
        with self.lock(name):
            path = self._root / name
            content = change(path if path.exists() else None)
            if content is not None:
                self._replace(name, content)

    def exists(self, name: str) -> bool:
        return (self._root / name).is_file()

    def names(self, folder: str) -> list[str]:
        found = []
        for base, folders, files in os.walk(self._root / folder):
            folders[:] = [name for name in folders if name != LOCKS]
            found += [os.path.relpath(os.path.join(base, file), self._root) for file in files]
        return sorted(name.replace(os.sep, "/") for name in found)

    def versions(self, folder: str) -> dict[str, str]:
        found = {}
        for name in self.names(folder):
            with suppress(FileNotFoundError):
                found[name] = _version((self._root / name).stat())
        return found

    def children(self, folder: str) -> list[str]:
        try:
            with os.scandir(self._root / folder) as entries:
                return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def remove(self, name: str) -> None:
        path = self._root / name
        with self.lock(name):
            path.unlink(missing_ok=True)
            _temporary(path).unlink(missing_ok=True)
            with suppress(OSError):  # other files are in it, or it has gone
                path.parent.rmdir()

    @contextmanager
    def lock(self, name: str, timeout: float | None = None) -> Iterator[None]:
        patience = self._timeout if timeout is None else timeout
        file = self._root / LOCKS / f"{name}.lock"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            held = FileLock(file, timeout=patience)
            held.acquire()
        except Timeout as error:
            raise StoreError(f"Waited {patience:.0f} s for {file}: another process is writing there.") from error
        except OSError as error:
            raise StoreError(f"The lake at {self._root} cannot be locked for writing: {error}.") from error
        try:
            yield
        finally:
            held.release()

    def sweep(self, break_locks: bool = False) -> Swept:
        """A leftover is one when its file's lock is free; a lock file goes only while it is held here, and who waits
        for it then notices and opens a new one (`break_locks` changes nothing: the system frees a dead writer's)."""
        leftovers = []
        for name in filter(is_leftover, self.names("")):
            path = self._root / name
            target = path.with_name(path.name[1:].removesuffix(_TEMPORARY))
            file = self._root / LOCKS / f"{target.relative_to(self._root)}.lock"
            file.parent.mkdir(parents=True, exist_ok=True)
            with suppress(Timeout), FileLock(file, timeout=0):
                if path.exists():
                    path.unlink()
                    leftovers.append(name)
        locks, folder = 0, self._root / LOCKS
        for file in sorted(folder.rglob("*.lock")) if folder.is_dir() else ():
            with suppress(Timeout), FileLock(file, timeout=0):
                file.unlink(missing_ok=True)
                locks += 1
        return Swept(tuple(leftovers), locks)

    def _replace(self, name: str, content: bytes) -> None:
        """Write, fsync and rename; the caller holds the file's lock, so a leftover temporary file is nobody's."""
        path = self._root / name
        temporary = _temporary(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error}); what was there before is unchanged.") from error


def _version(stat: os.stat_result) -> str:
    return f"{stat.st_ino}-{stat.st_mtime_ns}-{stat.st_size}"


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}{_TEMPORARY}")


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
