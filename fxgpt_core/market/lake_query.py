"""DuckDB over the lake: one view a dataset, on a folder or on objects, and no query mixes two versions of a file.

DuckDB reads a file's end when it binds a query and the file again when it scans it. A part that is replaced in between
would tear, so DuckDB sees the lake through a file system of ours whose names carry versions: what is opened under a
name has that version, or the query is told that it came too late.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import duckdb
import fsspec

from fxgpt_core.common.errors import DataError, StoreError
from fxgpt_core.store.storage import Storage, safe_name

if TYPE_CHECKING:
    import pyarrow as pa

_FILE = "part.parquet"
_CACHED_BYTES = 256 * 2**20
_TRIES = 4
"""Attempts at a query while others write; the last one holds what it reads in memory and cannot come too late."""


def connect(
    storage: Storage, datasets: Sequence[str] | None = None, keys: Mapping[str, str] | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a connection with a view per dataset; see `Lake.connect`."""
    for _ in range(_TRIES):
        files = _Versioned(storage)
        try:
            return _connect(files, storage.children("") if datasets is None else datasets, keys or {})
        except (duckdb.Error, OSError) as error:
            if not files.late:
                raise DataError(f"The lake {storage.root} cannot be shown: {str(error).splitlines()[0]}") from error
    raise StoreError(f"The lake {storage.root} changes faster than its views can be made; try again.")


def query(storage: Storage, sql: str) -> pa.Table:
    """Answer one SELECT; see `Lake.query`."""
    named = [name for name in storage.children("") if name in sql]  # binding a view opens every file of its dataset
    for attempt in range(1, _TRIES + 1):
        files = _Versioned(storage, held=attempt == _TRIES)
        try:
            with _connect(files, named, {}) as connection:
                statements = connection.extract_statements(sql)
                if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                    raise DataError(f"The lake answers one SELECT at a time, not {sql!r}.")
                return connection.sql(sql).to_arrow_table()
        except (duckdb.Error, OSError) as error:
            if not files.late:
                raise DataError(f"The lake cannot answer {sql!r}: {str(error).splitlines()[0]}") from error
    raise StoreError(f"The lake cannot answer {sql!r} now: parts are removed faster than they are read; try again.")


def _connect(files: _Versioned, datasets: Sequence[str], keys: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_external_file_cache = false")  # the file system below keeps what can be kept
    connection.register_filesystem(files)
    below = "".join(f"/{safe_name(f'{key}={value}')}" for key, value in keys.items())
    for name in datasets:
        pattern = f"{files.protocol}://{safe_name(name)}{below}/**/{_FILE}".replace("'", "''")
        try:
            connection.execute(
                f"""CREATE VIEW "{name.replace('"', '""')}" AS SELECT * FROM read_parquet('{pattern}', """
                "hive_partitioning = true, hive_types_autocast = false, union_by_name = true)"
            )
        except duckdb.IOException as error:
            if "No files found" not in str(error):
                raise
    return connection


class _Versioned(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """The storage as DuckDB reads it, under names `path@version`.

    Objects are fetched whole and kept by version, the latest 256 MB of them. With `held`, whatever is opened first
    under a name stays in memory and is what the name means from then on. `late` tells that a file was replaced between
    listing and reading. On stores without versions any content passes for the one that was listed.
    """

    protocol = "fxlake"
    cachable = False

    def __init__(self, storage: Storage, held: bool = False) -> None:
        super().__init__()
        self._storage, self._held = storage, held
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._keeping = threading.Lock()  # DuckDB reads in threads
        self.late = False

    def glob(self, path: str, **_: Any) -> list[str]:
        versions = self._storage.versions(_name(path).partition("/*")[0])
        return [f"{self.protocol}://{name}@{versions[name]}" for name in sorted(versions) if name.endswith(f"/{_FILE}")]

    def open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        content = self._contents.get(path)
        if content is not None:
            return BytesIO(content)
        name, _at, version = _name(path).rpartition("@")
        try:
            file, found = self._storage.open(name)
        except FileNotFoundError as error:
            self.late = True
            raise OSError(f"{name} was removed while it was queried: run the query again") from error
        if version and found != version and not self._held:
            self.late = True
            file.close()
            raise OSError(f"{name} was replaced while it was queried: run the query again")
        if self._held or isinstance(file, BytesIO):
            with file:
                return BytesIO(self._keep(path, file.read(), bool(version)))
        self._sizes[path] = file.seek(0, 2)
        file.seek(0)
        return file

    def size(self, path: str) -> int:
        if path not in self._sizes:
            self.open(path).close()
        return self._sizes[path]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "size": self.size(path), "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:
        return self._storage.exists(_name(path).rpartition("@")[0])

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(0, UTC)  # the name changes when the content does

    def _keep(self, path: str, content: bytes, versioned: bool) -> bytes:
        with self._keeping:
            if self._held or versioned:
                content = self._contents.setdefault(path, content)
            while not self._held and len(self._contents) > 1 and self._kept_bytes() > _CACHED_BYTES:
                self._contents.popitem(last=False)
            self._sizes[path] = len(content)
        return content

    def _kept_bytes(self) -> int:
        return sum(map(len, self._contents.values()))


def _name(path: str) -> str:
    return path.removeprefix(f"{_Versioned.protocol}://").lstrip("/")
