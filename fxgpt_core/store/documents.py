"""Small versioned JSON results beside the lake: evaluations, verdicts, summaries, one per name and symbol."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from fxgpt_core.common.errors import StoreError


class Documents:
    """JSON documents under `<root>/documents/<name>/symbol=<SYMBOL>/document.json`, each with its fingerprint."""

    def __init__(self, root: Path) -> None:
        self.root = root / "documents"

    def path(self, name: str, symbol: str) -> Path:
        """Return where a document lies."""
        return self.root / name / f"symbol={symbol}" / "document.json"

    def write(self, name: str, symbol: str, value: Any, fingerprint: str) -> Path:
        """Replace a document atomically; a reader sees the old or the new one, never a part."""
        text = json.dumps({"fingerprint": fingerprint, "value": value}, indent=1, allow_nan=False)
        return write_atomically(self.path(name, symbol), text)

    def read(self, name: str, symbol: str) -> Any:
        """Return a document's value, which may be None; raises StoreError when it was not written yet."""
        if self._load(name, symbol) is None:
            raise StoreError(f"No {name} for {symbol} yet: run `fxgpt materialize '*' --symbol {symbol}`.")
        return self.find(name, symbol)

    def find(self, name: str, symbol: str) -> Any | None:
        """Return a document's value, or None when there is none."""
        entry = self._load(name, symbol)
        return None if entry is None else entry["value"]

    def fingerprint(self, name: str, symbol: str) -> str | None:
        """Return the fingerprint under which a document was written, or None."""
        entry = self._load(name, symbol)
        return None if entry is None else str(entry["fingerprint"])

    def _load(self, name: str, symbol: str) -> dict[str, Any] | None:
        path = self.path(name, symbol)
        if not path.exists():
            return None
        try:
            loaded: dict[str, Any] = json.loads(path.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise StoreError(f"Document {path} cannot be read ({error}): delete it and materialise again.") from error
        return loaded


def write_atomically(path: Path, text: str) -> Path:
    """Write text to a temporary name in the same folder, fsync, rename; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
