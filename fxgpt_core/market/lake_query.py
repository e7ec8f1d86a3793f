"""DuckDB over the lake: one view a dataset, on a folder or on objects, each file as it is at one moment."""

from __future__ import annotations

import glob
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import fsspec

from fxgpt_core.common.errors import DataError
from fxgpt_core.store.storage import Storage, safe_name

if TYPE_CHECKING:
    import pyarrow as pa

_FILE = "part.parquet"
_CACHED_BYTES = 256 * 2**20


def connect(
    storage: Storage, datasets: Sequence[str] | None = None, keys: Mapping[str, str] | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a connection with a view per dataset; see `Lake.connect`."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    if isinstance(storage.root, Path):
        root = glob.escape(str(storage.root))
    else:
        connection.execute("SET enable_external_file_cache = false")  # it would not see a part replaced
        connection.register_filesystem(_Snapshots(storage))
        root = f"{_Snapshots.protocol}:/"
    below = "".join(f"/{safe_name(f'{key}={value}')}" for key, value in (keys or {}).items())
    for name in datasets if datasets is not None else storage.children(""):
        pattern = f"{root}/{safe_name(name)}{below}/**/{_FILE}".replace("'", "''")
        try:
            connection.execute(
                f"""CREATE VIEW "{name.replace('"', '""')}" AS SELECT * FROM read_parquet('{pattern}', """
                "hive_partitioning = true, hive_types_autocast = false, union_by_name = true)"
            )
        except duckdb.IOException as error:
            if "No files found" not in str(error):
                raise DataError(f"The lake cannot show {name}: {str(error).splitlines()[0]}") from error
    return connection


def query(storage: Storage, sql: str) -> pa.Table:
    """Answer one SELECT; see `Lake.query`."""
    named = [name for name in storage.children("") if name in sql]  # binding a view opens every file of its dataset
    with connect(storage, named) as connection:
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise DataError(f"The lake answers one SELECT at a time, not {sql!r}.")
            return connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise DataError(f"The lake cannot answer {sql!r}: {str(error).splitlines()[0]}") from error


class _Snapshots(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """The storage as DuckDB reads it: every opened file is one whole object, fetched at once and kept while listing
    says that it has not changed, so that no query mixes two versions of a part."""

    protocol = "fxlake"
    cachable = False

    def __init__(self, storage: Storage) -> None:
        super().__init__()
        self._storage = storage
        self._versions: dict[str, str] = {}
        self._contents: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def glob(self, path: str, **_: Any) -> list[str]:
        folder = self._name(path).partition("/*")[0]
        versions = self._storage.versions(folder)
        self._versions.update(versions)
        return [f"{self.protocol}://{name}" for name in sorted(versions) if name.endswith(f"/{_FILE}")]

    def open(self, path: str, mode: str = "rb", **_: Any) -> BytesIO:
        return BytesIO(self._content(self._name(path)))

    def size(self, path: str) -> int:
        return len(self._content(self._name(path)))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "size": self.size(path), "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:
        return self._storage.exists(self._name(path))

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(0, UTC)  # nothing is cached by it

    def _content(self, name: str) -> bytes:
        version = self._versions.get(name, "")
        if version and (name, version) in self._contents:
            self._contents.move_to_end((name, version))
            return self._contents[name, version]
        content = self._storage.read(name)
        if version:
            self._contents[name, version] = content
            while len(self._contents) > 1 and sum(map(len, self._contents.values())) > _CACHED_BYTES:
                self._contents.popitem(last=False)
        return content

    def _name(self, path: str) -> str:
        return path.removeprefix(f"{self.protocol}://").lstrip("/")
