"""`Inbox`: files of bars dropped into a folder are imported, then lie under `done` or, with the reason, `rejected`."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fxgpt_core.common.errors import BadInputError, StoreError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.symbols import normalise_symbol
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.importing import ImportResult, import_file
from fxgpt_core.market.lake import Lake

DONE, REJECTED = "done", "rejected"
_UNFINISHED = (".part", ".tmp", ".partial", ".crdownload", ".filepart")


@dataclass(frozen=True)
class Taken:
    """What became of one file: where it lies now, and either its import or why it was rejected.

    `unexpected` says that the reason is a fault of ours and not of the file.
    """

    name: str
    moved_to: Path
    result: ImportResult | None = None
    reason: str | None = None
    unexpected: bool = False


@dataclass(frozen=True)
class Inbox:
    """A folder that takes files of bars; a subfolder named after a pair (`GBPUSD/`) says whose bars they are."""

    root: Path

    def waiting(self, now: datetime, settle_seconds: float = 5.0) -> list[Path]:
        """Return the files that wait, sorted; one that was changed in the last `settle_seconds` is still being copied.

        Hidden files and those with the ending of an unfinished download are not looked at.
        """
        if not self.root.is_dir():
            return []
        found = []
        for path in sorted(self.root.rglob("*")):
            inside = path.relative_to(self.root).parts
            hidden = any(part.startswith(".") for part in inside) or path.suffix.lower() in _UNFINISHED
            if inside[0] in (DONE, REJECTED) or hidden or not path.is_file():
                continue
            if now.timestamp() - path.stat().st_mtime >= settle_seconds:
                found.append(path)
        return found

    def key(self, files: list[Path]) -> str:
        """Return what identifies these files as they are now: another copy under the same name has another key."""
        facts = [(str(path.relative_to(self.root)), path.stat()) for path in files]
        return stable_hash([[name, stat.st_size, stat.st_mtime_ns] for name, stat in facts])

    def take(self, lake: Lake, path: Path, quality: QualityConfig) -> Taken:
        """Import one file and move it to `done`, or to `rejected` beside a text file with the reason.

        A file whose import was killed still waits, and importing it again changes nothing that was done. Raises
        StoreError, with the file left where it is, when the lake itself cannot be written.
        """
        name = str(path.relative_to(self.root))
        try:
            result = import_file(lake, path, symbol=self._symbol(path), quality=quality)
        except StoreError:
            raise
        except BadInputError as error:
            return Taken(name, self._reject(path, str(error)), reason=str(error))
        except Exception as error:  # one bad file must not keep the others waiting
            reason = f"Unexpected {type(error).__name__}: {error}"
            return Taken(name, self._reject(path, f"{reason}\n\n{traceback.format_exc()}"), None, reason, True)
        return Taken(name, self._move(path, DONE), result)

    def _symbol(self, path: Path) -> str | None:
        folder = path.relative_to(self.root).parts[0]
        return normalise_symbol(folder) if folder != path.name else None

    def _reject(self, path: Path, reason: str) -> Path:
        moved = self._move(path, REJECTED)
        moved.with_name(f"{moved.name}.reason.txt").write_text(reason + "\n", encoding="utf-8")
        return moved

    def _move(self, path: Path, folder: str) -> Path:
        """Move a file under `folder`, never over another one."""
        target = self.root / folder / path.relative_to(self.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        count = 1
        while target.exists():
            count += 1
            target = target.with_name(f"{path.stem}_{count}{path.suffix}")
        os.replace(path, target)
        return target
