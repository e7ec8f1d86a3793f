"""Small versioned JSON results beside the lake: evaluations, verdicts, summaries, one per name and symbol."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.storage import open_storage


class Documents:
    """JSON documents under `<root>/documents/<name>/symbol=<SYMBOL>/document.json`, each with its fingerprint.

    The root is a folder or an fsspec URL, as a lake's; `timeout` is how long (seconds) a writer waits for another one.
    """

    def __init__(
        self, root: str | Path, timeout: float = 120.0, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        self._storage = open_storage(root, timeout, storage_options)

    def exists(self, name: str, symbol: str) -> bool:
        """Tell whether a document was written."""
        return self._storage.exists(_file(name, symbol))

    def write(self, name: str, symbol: str, value: Any, fingerprint: str) -> None:
        """Replace a document atomically; a reader sees the old or the new one, never a part."""
        text = json.dumps({"fingerprint": fingerprint, "value": value}, indent=1, allow_nan=False)
        self._storage.write(_file(name, symbol), text.encode())

    def read(self, name: str, symbol: str) -> Any:
        """Return a document's value, which may be None; raises StoreError when it was not written yet."""
        entry = self._load(name, symbol)
        if entry is None:
            raise StoreError(f"No {name} for {symbol} yet: run `fxgpt materialize '*' --symbol {symbol}`.")
        return entry["value"]

    def find(self, name: str, symbol: str) -> Any | None:
        """Return a document's value, or None when there is none."""
        entry = self._load(name, symbol)
        return None if entry is None else entry["value"]

    def fingerprint(self, name: str, symbol: str) -> str | None:
        """Return the fingerprint under which a document was written, or None."""
        entry = self._load(name, symbol)
        return None if entry is None else str(entry["fingerprint"])

    def _load(self, name: str, symbol: str) -> dict[str, Any] | None:
        try:
            loaded: dict[str, Any] = json.loads(self._storage.read(_file(name, symbol)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            where = self._storage.where(_file(name, symbol))
            raise StoreError(f"Document {where} cannot be read ({error}): delete it and materialise again.") from error
        return loaded


def _file(name: str, symbol: str) -> str:
    return f"documents/{name}/symbol={symbol}/document.json"


def write_atomically(path: Path, text: str) -> Path:
    """Write text to a temporary name in the same folder, fsync, rename; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, 0o644)  # a web server or a colleague may read reports
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
