"""`Lake`: hive-partitioned Parquet with manifests, safe against crashes and several writers.

DESIGN, "Where data lives".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fxgpt_core.common.errors import DataError, StoreError
from fxgpt_core.market.lake_parts import DamagedPartError, decode, encode, merge
from fxgpt_core.store.storage import Source, open_storage
from fxgpt_core.store.storage import safe_name as _name

if TYPE_CHECKING:
    import duckdb

_FILE, _MANIFEST = "part.parquet", "manifest.json"
_REQUESTS = 8
"""Objects that are fetched at a time."""


@dataclass(frozen=True)
class PartEntry:
    """What a manifest says of one part: checksum of its content, rows, and a checksum of what it was made from."""

    checksum: str
    rows: int
    source: str = ""


@dataclass(frozen=True)
class Manifest:
    """What lies under one (dataset, keys): `fingerprint` of the whole content, `definition` hash of the recipe,
    `inputs` (name -> checksum), `parts` by part name, and `extra` facts that JSON can hold."""

    fingerprint: str
    definition: str
    inputs: dict[str, str] = field(default_factory=dict)
    parts: dict[str, PartEntry] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of all parts together."""
        return sum(entry.rows for entry in self.parts.values())


class Lake:
    """Tables under one root: `root/dataset/key=value/…/part/part.parquet`; the root is a folder or an fsspec URL.

    A reader sees a part as it was before or after a write, a killed writer leaves it as it was, and of two writers of
    one part none loses rows (`store.storage` says how, and what other stores than folders and S3 promise). `timeout`
    is how long (seconds) a writer waits for another one. `storage_options` go to fsspec; credentials are best left in
    the environment (AWS_*, AWS_ENDPOINT_URL).
    """

    def __init__(
        self, root: str | Path, timeout: float = 120.0, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        self.storage = open_storage(root, timeout, storage_options)
        self.root = self.storage.root

    def write(self, dataset: str, keys: Mapping[str, str], part: str, table: pa.Table) -> None:
        """Replace one part by `table`, atomically."""
        self.storage.write(_part_file(dataset, keys, part), encode(table))

    def upsert(self, dataset: str, keys: Mapping[str, str], part: str, table: pa.Table, on: str = "ts_utc") -> int:
        """Merge `table` into a part by column `on`; new rows win. Returns how many rows were added or changed.

        The part is sorted by `on`; of several new rows with one value the last wins. Rows that all lie after the stored
        ones are appended without comparing. Raises DataError when the columns do not fit what is stored.
        """
        changed = 0

        def merged(old: pa.Table | None) -> pa.Table | None:
            nonlocal changed
            old = table.schema.empty_table() if old is None else old
            both, changed = merge(old, table, on, f"{dataset} {_label(keys)} {part}")
            return both if changed else None

        self.change(dataset, keys, part, merged)
        return changed

    def change(
        self,
        dataset: str,
        keys: Mapping[str, str],
        part: str,
        by: Callable[[pa.Table | None], pa.Table | None],
    ) -> None:
        """Replace a part by what `by` makes of it (None in: there is none; None out: leave it), losing no other
        writer's change; `by` may be called again with newer content."""
        file = _part_file(dataset, keys, part)

        def encoded(source: Source | None) -> bytes | None:
            made = by(None if source is None else decode(source, self.storage.where(file)))
            return None if made is None else encode(made)

        self.storage.update(file, encoded)

    def read(
        self,
        dataset: str,
        keys: Mapping[str, str],
        parts: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return the rows of the named parts (default all) in sorted part order.

        Raises DataError naming what is missing: the dataset, a part or a column.
        """
        wanted = self.parts(dataset, keys) if parts is None else sorted(parts)
        if not wanted:
            raise self._lacking(dataset, keys, "has no rows")
        try:
            tables = self._tables(dataset, keys, wanted, columns)
        except FileNotFoundError as error:
            missing = sorted(set(wanted) - set(self.parts(dataset, keys))) or wanted
            if parts is None:  # the list is old by now: another process removed parts, or merged them
                return self.read(dataset, keys, None, columns)
            raise self._lacking(dataset, keys, f"lacks {', '.join(missing)}") from error
        return pa.concat_tables(tables, promote_options="default")

    def readable(self, dataset: str, keys: Mapping[str, str], part: str) -> pa.Table | None:
        """Return the rows of one part, None where there is no such part or its file is damaged."""
        try:
            return self._table(dataset, keys, part)
        except (FileNotFoundError, DamagedPartError):
            return None

    def tail(
        self,
        dataset: str,
        keys: Mapping[str, str],
        rows: int,
        parts: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return the last `rows` rows (fewer where there are no more) of the named parts (default all), opening only
        the last parts and decoding only their ends. Raises DataError as `read` does."""
        names = self.storage.children(_folder(dataset, keys)) if parts is None else sorted(parts)
        found: list[pa.Table] = []
        for part in reversed(names):
            try:
                found.insert(0, self._table(dataset, keys, part, columns, rows))
            except FileNotFoundError as error:
                if parts is not None:
                    raise self._lacking(dataset, keys, f"lacks {part}") from error
                continue  # a folder of another key, or a part being removed
            rows -= len(found[0])
            if rows <= 0:
                break
        if not found:
            raise self._lacking(dataset, keys, "has no rows")
        return pa.concat_tables(found, promote_options="default")

    def parts(self, dataset: str, keys: Mapping[str, str]) -> list[str]:
        """Return the names of the parts that exist, sorted; empty when there are none."""
        folder = _folder(dataset, keys)
        below = (name.removeprefix(f"{folder}/").split("/") for name in self.storage.names(folder))
        return sorted(steps[0] for steps in below if len(steps) == 2 and steps[1] == _FILE)

    def keys(self, dataset: str) -> list[dict[str, str]]:
        """Return the keys of every manifest of a dataset, sorted by their folder; folders that are none of the lake's
        (`name=value`) are not looked at, `check_lake` names them."""
        names = (name.split("/") for name in self.storage.names(_name(dataset)))
        folders = sorted({tuple(steps[1:-1]) for steps in names if steps[-1] == _MANIFEST})
        ours = (folder for folder in folders if all(is_key(part) for part in folder))
        return [{name: value for name, _, value in (part.partition("=") for part in folder)} for folder in ours]

    def remove(self, dataset: str, keys: Mapping[str, str], parts: Sequence[str]) -> None:
        """Delete parts; absent ones are ignored."""
        for part in parts:
            self.storage.remove(_part_file(dataset, keys, part))

    def read_manifest(self, dataset: str, keys: Mapping[str, str]) -> Manifest | None:
        """Return the manifest, None when there is none; raises StoreError when it is damaged."""
        name = f"{_folder(dataset, keys)}/{_MANIFEST}"
        try:
            raw = json.loads(self.storage.read(name))
            raw["parts"] = {part: PartEntry(**entry) for part, entry in raw["parts"].items()}
            return Manifest(**raw)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"Manifest {self.storage.where(name)} is damaged ({error}). If it is that of bars which were imported "
                "or fetched, `fxgpt lake rebuild` makes it from them; otherwise delete it and materialise again."
            ) from error

    def write_manifest(self, dataset: str, keys: Mapping[str, str], manifest: Manifest) -> None:
        """Replace the manifest, atomically."""
        text = json.dumps(asdict(manifest), indent=1, sort_keys=True, allow_nan=False)
        self.storage.write(f"{_folder(dataset, keys)}/{_MANIFEST}", text.encode())

    @contextmanager
    def lock(self, dataset: str, keys: Mapping[str, str], timeout: float | None = None) -> Iterator[None]:
        """Hold the lock of one (dataset, keys): for changing several parts and their manifest as one.

        `timeout`: seconds to wait for it, by default those of the lake.
        """
        with self.storage.lock(f"{_folder(dataset, keys)}/all", timeout):
            yield

    def connect(
        self, datasets: Sequence[str] | None = None, keys: Mapping[str, str] | None = None
    ) -> duckdb.DuckDBPyConnection:
        """Return a DuckDB connection with one view per dataset (default all), for reading; close it when done.

        Keys and parts are text columns, and a condition on them (`symbol = 'EURUSD' AND month = '2024-03'`) leaves the
        other files unread; `keys` (the first ones, as `{"symbol": "EURUSD"}`) leaves them out of the views altogether.
        Months with different columns show null where they have none.
        """
        from fxgpt_core.market.lake_query import connect

        return connect(self.storage, datasets, keys)

    def query(self, sql: str) -> pa.Table:
        """Answer a SELECT by DuckDB, in process and read-only; each dataset is a view with its keys as text columns.

        Raises DataError when the statement is not one SELECT or DuckDB refuses it.
        """
        from fxgpt_core.market.lake_query import query

        return query(self.storage, sql)

    def _tables(
        self, dataset: str, keys: Mapping[str, str], parts: Sequence[str], columns: Sequence[str] | None
    ) -> list[pa.Table]:
        if isinstance(self.root, Path) or len(parts) == 1:
            return [self._table(dataset, keys, part, columns) for part in parts]
        with ThreadPoolExecutor(_REQUESTS) as pool:
            return list(pool.map(lambda part: self._table(dataset, keys, part, columns), parts))

    def _table(
        self,
        dataset: str,
        keys: Mapping[str, str],
        part: str,
        columns: Sequence[str] | None = None,
        rows: int | None = None,
    ) -> pa.Table:
        file = _part_file(dataset, keys, part)
        return decode(self.storage.source(file), self.storage.where(file), columns, rows)

    def _lacking(self, dataset: str, keys: Mapping[str, str], what: str) -> DataError:
        return DataError(f"Lake {self.root}: {dataset} of {_label(keys)} {what}; materialise or import it first.")


def is_key(folder: str) -> bool:
    """Tell whether the name of a folder is that of a key and its value, or of a part: `symbol=EURUSD`."""
    name, equals, value = folder.partition("=")
    return bool(name and equals and value)


def _folder(dataset: str, keys: Mapping[str, str]) -> str:
    return "/".join([_name(dataset), *(_name(f"{key}={value}") for key, value in keys.items())])


def _part_file(dataset: str, keys: Mapping[str, str], part: str) -> str:
    return f"{_folder(dataset, keys)}/{_name(part)}/{_FILE}"


def _label(keys: Mapping[str, str]) -> str:
    return " ".join(keys.values())
