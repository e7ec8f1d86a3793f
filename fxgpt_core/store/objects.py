"""What object stores can do for `ObjectStorage`: whole objects with versions, and puts that depend on the version."""

from __future__ import annotations

import threading
from hashlib import blake2b
from typing import Any, Protocol, TypeVar

from fxgpt_core.common.errors import StoreError

T = TypeVar("T")


class Conflict(Exception):
    """A conditional put lost: the object is not what the writer had seen. Never leaves the store layer."""


class Objects(Protocol):
    """Objects by path; `version` changes whenever the content does. `conditional` says whether `replace` exists."""

    conditional: bool

    def get(self, path: str) -> tuple[bytes, str]:
        """Return content and version, of one moment; raises FileNotFoundError."""
        ...

    def put(self, path: str, content: bytes) -> None:
        """Write whatever is there."""
        ...

    def create(self, path: str, content: bytes) -> str:
        """Write where nothing is and return the version; raises Conflict where something is."""
        ...

    def replace(self, path: str, content: bytes, version: str) -> str:
        """Write over this version and return the new one; raises Conflict where another version or nothing is."""
        ...

    def remove(self, path: str) -> None:
        """Delete an object; one that is not there may raise FileNotFoundError."""
        ...

    def find(self, path: str) -> dict[str, str]:
        """Return every object below a path with its version ("" where listing does not tell)."""
        ...

    def folders(self, path: str) -> list[str]:
        """Return the names of the folders directly below a path."""
        ...


class PlainObjects:
    """Any fsspec file system: no version to compare, and exclusive creation where the file system has it."""

    conditional = False

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def get(self, path: str) -> tuple[bytes, str]:
        return bytes(self._fs.cat_file(path)), ""

    def put(self, path: str, content: bytes) -> None:
        self._make_folder(path)
        self._fs.pipe_file(path, content)

    def create(self, path: str, content: bytes) -> str:
        self._make_folder(path)
        try:
            if _creates_natively(self._fs):
                self._fs.pipe_file(path, content, mode="create")
            else:  # fsspec's own fallback looks first and then writes, which two writers may do together
                with self._fs.open(path, "xb") as file:
                    file.write(content)
        except FileExistsError as error:
            raise Conflict(path) from error
        return ""

    def replace(self, path: str, content: bytes, version: str) -> str:
        raise StoreError(f"{type(self._fs).__name__} cannot replace an object only if it is unchanged.")

    def remove(self, path: str) -> None:
        self._fs.rm_file(path)

    def find(self, path: str) -> dict[str, str]:
        self._fs.invalidate_cache()
        try:
            return dict.fromkeys(self._fs.find(path), "")
        except FileNotFoundError:
            return {}

    def folders(self, path: str) -> list[str]:
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [str(entry["name"]).rstrip("/").rsplit("/", 1)[-1] for entry in found if entry["type"] == "directory"]

    def _make_folder(self, path: str) -> None:
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)


class MemoryObjects(PlainObjects):
    """fsspec's `memory://`, which one process shares: comparing and writing are one step under one lock."""

    conditional = True
    _one_at_a_time = threading.Lock()  # of the class, as the memory itself is

    def get(self, path: str) -> tuple[bytes, str]:
        content = bytes(self._fs.cat_file(path))
        return content, _digest(content)

    def put(self, path: str, content: bytes) -> None:
        with self._one_at_a_time:
            self._fs.pipe_file(path, content)

    def create(self, path: str, content: bytes) -> str:
        with self._one_at_a_time:
            if self._fs.isfile(path):
                raise Conflict(path)
            self._fs.pipe_file(path, content)
        return _digest(content)

    def replace(self, path: str, content: bytes, version: str) -> str:
        with self._one_at_a_time:
            try:
                same = self.get(path)[1] == version
            except FileNotFoundError:
                same = False
            if not same:
                raise Conflict(path)
            self._fs.pipe_file(path, content)
        return _digest(content)

    def find(self, path: str) -> dict[str, str]:
        with self._one_at_a_time:
            return {name: self.get(name)[1] for name in super().find(path)}

    def folders(self, path: str) -> list[str]:
        with self._one_at_a_time:
            return super().folders(path)

    def remove(self, path: str) -> None:
        with self._one_at_a_time:
            super().remove(path)


class S3Objects(PlainObjects):
    """S3 and what speaks like it: ETags are versions, puts carry If-Match or If-None-Match.

    One put is at most 5 GB. A store that ignores the conditions would lose rows, so the first conditional put of a
    storage is preceded by one that must fail (`ObjectStorage.verify`).
    """

    conditional = True

    def get(self, path: str) -> tuple[bytes, str]:
        async def whole(bucket: str, key: str) -> tuple[bytes, str]:
            answer = await self._fs._call_s3("get_object", Bucket=bucket, Key=key)
            async with answer["Body"] as body:
                return await body.read(), str(answer["ETag"])

        from fsspec.asyn import sync

        bucket, key = self._place(path)
        content, version = sync(self._fs.loop, whole, bucket, key)
        return content, version

    def put(self, path: str, content: bytes) -> None:
        self._put(path, content)

    def create(self, path: str, content: bytes) -> str:
        return self._put(path, content, IfNoneMatch="*")

    def replace(self, path: str, content: bytes, version: str) -> str:
        return self._put(path, content, IfMatch=version)

    def find(self, path: str) -> dict[str, str]:
        try:
            found = self._fs.find(path, detail=True, refresh=True)
        except FileNotFoundError:
            return {}
        return {name: str(facts.get("ETag", "")) for name, facts in found.items()}

    def _put(self, path: str, content: bytes, **condition: str) -> str:
        bucket, key = self._place(path)
        try:
            answer = self._fs.call_s3("put_object", Bucket=bucket, Key=key, Body=content, **condition)
        except OSError as error:
            if condition and _lost(error):
                raise Conflict(path) from error
            raise
        return str(answer["ETag"])

    def _place(self, path: str) -> tuple[str, str]:
        bucket, key, _ = self._fs.split_path(path)
        return str(bucket), str(key)


def _creates_natively(fs: Any) -> bool:
    """Tell whether a file system brings its own way of writing a whole file, as object stores do."""
    from fsspec import AbstractFileSystem
    from fsspec.asyn import AsyncFileSystem

    if isinstance(fs, AsyncFileSystem):
        return type(fs)._pipe_file is not AsyncFileSystem._pipe_file
    return type(fs).pipe_file is not AbstractFileSystem.pipe_file


def _lost(error: OSError) -> bool:
    """Tell whether an error of s3fs says that the condition of a put did not hold."""
    answer = getattr(error.__cause__, "response", None) or {}
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status in (409, 412) or answer.get("Error", {}).get("Code") == "NoSuchKey"


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()
