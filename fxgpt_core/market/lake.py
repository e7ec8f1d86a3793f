"""`Lake`: hive-partitioned Parquet with manifests, safe against crashes and several writers.

DESIGN, "Where data lives".
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from fxgpt_core.common.errors import DataError, StoreError

_FILE, _MANIFEST, _LOCKS = "part.parquet", "manifest.json", ".locks"


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
    """Tables under one root folder: `root/dataset/key=value/…/part/part.parquet`.

    Every write goes to a temporary name, is fsynced and renamed under that part's lock, so a reader sees the old file
    or the new one and a killed writer leaves the old one. `timeout` is how long (seconds) a writer waits for a lock.
    """

    def __init__(self, root: str | Path, timeout: float = 120.0) -> None:
        if "://" in str(root):
            raise StoreError(f"Lake at {root}: object stores are not supported yet, give a folder.")
        self.root = Path(root)
        self._timeout = timeout

    def write(self, dataset: str, keys: Mapping[str, str], part: str, table: pa.Table) -> None:
        """Replace one part by `table`, atomically."""
        with self._part_lock(dataset, keys, part):
            self._replace(dataset, keys, part, table)

    def upsert(self, dataset: str, keys: Mapping[str, str], part: str, table: pa.Table, on: str = "ts_utc") -> int:
        """Merge `table` into a part by column `on`; new rows win. Returns how many rows were added or changed.

        The part is sorted by `on`; of several new rows with one value the last wins. Raises DataError when the columns
        do not fit what is stored.
        """
        with self._part_lock(dataset, keys, part):
            path = self._path(dataset, keys) / part / _FILE
            old = self._read_file(path) if path.exists() else table.schema.empty_table()
            merged, changed = _merge(old, table, on, f"{dataset} {_label(keys)} {part}")
            if changed:
                self._replace(dataset, keys, part, merged)
        return changed

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
        present = self.parts(dataset, keys)
        wanted = present if parts is None else sorted(parts)
        missing = sorted(set(wanted) - set(present))
        if not wanted or missing:
            what = f"lacks {', '.join(missing)}" if missing else "has no rows"
            raise DataError(f"Lake {self.root}: {dataset} of {_label(keys)} {what}; materialise or import it first.")
        folder = self._path(dataset, keys)
        return pa.concat_tables(
            [self._read_file(folder / part / _FILE, columns) for part in wanted], promote_options="default"
        )

    def parts(self, dataset: str, keys: Mapping[str, str]) -> list[str]:
        """Return the names of the parts that exist, sorted; empty when there are none."""
        folder = self._path(dataset, keys)
        return sorted(file.parent.name for file in folder.glob(f"*/{_FILE}"))

    def keys(self, dataset: str) -> list[dict[str, str]]:
        """Return the keys of every manifest of a dataset, sorted by their folder."""
        found = sorted((self.root / _name(dataset)).rglob(_MANIFEST))
        folders = [file.parent.relative_to(self.root / dataset).parts for file in found]
        return [dict(part.split("=", 1) for part in folder) for folder in folders]  # type: ignore[misc]

    def remove(self, dataset: str, keys: Mapping[str, str], parts: Sequence[str]) -> None:
        """Delete parts; absent ones are ignored."""
        for part in parts:
            with self._part_lock(dataset, keys, part):
                shutil.rmtree(self._path(dataset, keys) / _name(part), ignore_errors=True)

    def read_manifest(self, dataset: str, keys: Mapping[str, str]) -> Manifest | None:
        """Return the manifest, None when there is none; raises StoreError when it is damaged."""
        path = self._path(dataset, keys) / _MANIFEST
        try:
            raw = json.loads(path.read_text("utf-8"))
            raw["parts"] = {name: PartEntry(**entry) for name, entry in raw["parts"].items()}
            return Manifest(**raw)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"Manifest {path} is damaged ({error}); delete it and materialise again.") from error

    def write_manifest(self, dataset: str, keys: Mapping[str, str], manifest: Manifest) -> None:
        """Replace the manifest, atomically."""
        text = json.dumps(asdict(manifest), indent=1, sort_keys=True, allow_nan=False)
        folder = self._path(dataset, keys)
        with self._lock(folder / _MANIFEST):
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f".{_MANIFEST}.tmp"
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            _rename(temporary, folder / _MANIFEST)

    @contextmanager
    def lock(self, dataset: str, keys: Mapping[str, str]) -> Iterator[None]:
        """Hold the lock of one (dataset, keys): for changing several parts and their manifest as one."""
        with self._lock(self._path(dataset, keys) / "all"):
            yield

    def query(self, sql: str) -> pa.Table:
        """Answer a SELECT by DuckDB, in process and read-only; each dataset is a view with its keys as text columns.

        Raises DataError when the statement is not one SELECT or DuckDB refuses it.
        """
        import duckdb

        with duckdb.connect(":memory:") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for folder in sorted(self.root.glob("[!.]*/")):
                if next(folder.rglob(_FILE), None) is None:
                    continue
                pattern = str(folder / "**" / _FILE).replace("'", "''")
                connection.execute(
                    f"CREATE VIEW \"{folder.name}\" AS SELECT * FROM read_parquet('{pattern}', "
                    "hive_partitioning = true, hive_types_autocast = false, union_by_name = true)"
                )
            try:
                statements = connection.extract_statements(sql)
                if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                    raise DataError(f"The lake answers one SELECT at a time, not {sql!r}.")
                return connection.sql(sql).to_arrow_table()
            except duckdb.Error as error:
                raise DataError(f"The lake cannot answer {sql!r}: {str(error).splitlines()[0]}") from error

    def _path(self, dataset: str, keys: Mapping[str, str]) -> Path:
        return self.root.joinpath(_name(dataset), *(_name(f"{key}={value}") for key, value in keys.items()))

    def _part_lock(self, dataset: str, keys: Mapping[str, str], part: str) -> Any:
        return self._lock(self._path(dataset, keys) / _name(part))

    @contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        file = self.root / _LOCKS / path.relative_to(self.root).with_name(path.name + ".lock")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(file, timeout=self._timeout):
                yield
        except Timeout as error:
            raise StoreError(f"Waited {self._timeout:.0f} s for {file}: another process is writing there.") from error

    def _replace(self, dataset: str, keys: Mapping[str, str], part: str, table: pa.Table) -> None:
        """Write, fsync and rename; the caller holds the part's lock, so a leftover temporary file is nobody's."""
        folder = self._path(dataset, keys) / _name(part)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{_FILE}.tmp"
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        _rename(temporary, folder / _FILE)

    def _read_file(self, path: Path, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            with pq.ParquetFile(path) as file:
                absent = sorted(set(columns or ()) - set(file.schema_arrow.names))
                if absent:
                    raise DataError(f"{path} has no column {', '.join(absent)}; it has {file.schema_arrow.names}.")
                return file.read(columns=None if columns is None else list(columns))
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{path} cannot be read ({error}); remove that part and make it again.") from error


def _rename(temporary: Path, final: Path) -> None:
    """Rename and make the rename itself durable."""
    os.replace(temporary, final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _merge(old: pa.Table, new: pa.Table, on: str, where: str) -> tuple[pa.Table, int]:
    """Return both tables as one sorted by `on`, new rows over old, and how many rows are new or differ."""
    try:
        new = new.select(old.column_names).cast(old.schema)
    except (KeyError, ValueError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"Lake {where}: columns {new.column_names} do not fit {old.column_names} ({error}).") from error
    both = pa.concat_tables([old, new]).combine_chunks()
    values = both[on].to_numpy(zero_copy_only=False)
    reversed_keys, first = np.unique(values[::-1], return_index=True)
    rows = len(values) - 1 - first  # the last row of each key, keys ascending
    merged = both.take(rows)
    replaced = rows >= len(old)
    known = np.isin(reversed_keys, old[on].to_numpy(zero_copy_only=False))
    touched = np.flatnonzero(replaced & known)
    before = old.take(pc.index_in(merged[on].take(touched), value_set=old[on]))
    after = merged.take(touched)
    same = np.ones(len(touched), dtype=bool)
    for name in old.column_names:
        same &= _equal(before[name], after[name])
    return merged, int((replaced & ~known).sum() + (~same).sum())


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return where two columns hold the same value; null equals null and NaN equals NaN."""
    equal = pc.fill_null(pc.equal(left, right), False)
    both_null = pc.and_(pc.is_null(left, nan_is_null=True), pc.is_null(right, nan_is_null=True))
    return np.asarray(pc.or_(equal, both_null).to_numpy(zero_copy_only=False), dtype=bool)


def _name(value: str) -> str:
    """Return a folder name, refusing what would leave its folder; raises StoreError."""
    if not value or value.startswith(".") or "/" in value or "\\" in value:
        raise StoreError(f"{value!r} cannot be a folder of the lake.")
    return value


def _label(keys: Mapping[str, str]) -> str:
    return " ".join(keys.values())
