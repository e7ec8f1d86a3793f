"""`Inbox`: files of bars dropped into a folder are imported, then lie under `done` or, with the reason, `rejected`."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fxgpt_core.common.errors import BadInputError, FxgptError, StoreError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.symbols import normalise_symbol
from fxgpt_core.market.files.importing import Imports, Limits, import_files
from fxgpt_core.market.files.reading import Claims, FaultError
from fxgpt_core.market.lake import Lake

DONE, REJECTED = "done", "rejected"
_UNFINISHED = (".part", ".tmp", ".partial", ".crdownload", ".filepart")
_NAME_BYTES = 255
"""What folders take as the name of a file."""


@dataclass(frozen=True)
class Taken:
    """What became of one file: where it lies now, what was imported of it, and why it was rejected.

    Of an archive that is rejected something may have been imported. `unexpected` says that the reason is a fault of
    ours and not of the file.
    """

    name: str
    moved_to: Path
    imported: tuple[dict[str, Any], ...] = ()
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

    def take(self, lake: Lake, files: Sequence[Path], quality: Limits) -> list[Taken]:
        """Import files and move each to `done`, or to `rejected` beside a text file with the reason.

        Files of one pair share the evidence about their clock. A file whose import was killed still waits, and
        importing it again changes nothing that was done. Raises StoreError, with what was not imported left where it
        is, when the lake itself cannot be written.
        """
        taken: list[Taken] = []
        for folder in dict.fromkeys(self._folder(path) for path in files):
            together = [path for path in files if self._folder(path) == folder]
            try:
                claims = Claims(symbol=normalise_symbol(folder) if folder else None)
                taken += self._settle(together, import_files(lake, together, claims, quality))
            except BadInputError as error:  # the folder is no pair
                taken += [self._rejected(path, str(error)) for path in together]
            except FxgptError:
                raise
            except Exception as error:
                if len(together) > 1:  # one bad file must not keep the others waiting
                    taken += [one for path in together for one in self.take(lake, [path], quality)]
                    continue
                reason = f"Unexpected {type(error).__name__}: {error}"
                taken.append(self._rejected(together[0], reason, traceback.format_exc()))
        return taken

    def _settle(self, files: Sequence[Path], done: Imports) -> list[Taken]:
        """Move files to where they belong after an import; raises StoreError for the first that the lake refused.

        What was imported of an archive of which something else failed is told beside the reason.
        """
        failed: dict[Path, list[FxgptError]] = {}
        for path, error in done.failed:
            failed.setdefault(path, []).append(error)
        facts: dict[str, list[dict[str, Any]]] = {}
        for one in [*(result.to_dict() for result in done.results), *done.events]:
            facts.setdefault(str(one["path"]), []).append(one)
        out, refused = [], None
        for path in files:
            errors, imported = failed.get(path, []), tuple(facts.get(str(path), ()))
            broken = next((error for error in errors if isinstance(error, StoreError)), None)
            if not errors:
                name = str(path.relative_to(self.root))
                out.append(Taken(name, self._move(path, DONE), imported))
            elif broken is not None:
                refused = refused or broken
            else:
                reason = " ".join([*dict.fromkeys(map(str, errors)), *_all_the_same(imported)])
                out.append(self._rejected(path, reason, _traces(errors), imported))
        if refused is not None:
            raise refused
        return out

    def _folder(self, path: Path) -> str:
        """Return the name of the subfolder in which a file lies, empty for the inbox itself."""
        first = path.relative_to(self.root).parts[0]
        return first if first != path.name else ""

    def _rejected(self, path: Path, reason: str, details: str = "", imported: tuple[dict[str, Any], ...] = ()) -> Taken:
        name, moved = str(path.relative_to(self.root)), self._move(path, REJECTED)
        text = f"{reason}\n\n{details}".rstrip() + "\n"
        try:
            beside = moved.with_name(_fitting(moved.name, ".reason.txt"))
            beside.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:  # the reason still reaches who asked for the import
            reason += f" (This could not be written beside the file: {error.strerror}.)"
        return Taken(name, moved, imported, reason, unexpected=bool(details))

    def _move(self, path: Path, folder: str) -> Path:
        """Move a file under `folder`, never over another one."""
        target = self.root / folder / path.relative_to(self.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        count = 1
        while target.exists():
            count += 1
            target = target.with_name(_fitting(path.stem, f"_{count}{path.suffix}"))
        os.replace(path, target)
        return target


def _fitting(name: str, ending: str) -> str:
    """Return name and ending together, the name cut (and told from others by a hash) where a folder takes no more."""
    if len(os.fsencode(name + ending)) <= _NAME_BYTES:
        return name + ending
    ending = f"_{stable_hash(os.fsencode(name).hex(), 8)}{ending}"
    kept = os.fsencode(name)[: max(_NAME_BYTES - len(os.fsencode(ending)), 0)]
    return kept.decode("utf-8", errors="ignore") + ending


def _all_the_same(imported: Sequence[dict[str, Any]]) -> list[str]:
    """Return the sentence that tells what was imported of a file that is rejected; none when nothing was."""
    told = [
        f"{one['rows_imported']} {one['symbol']} {one['timeframe']} {one['side']} bars"
        if "rows_imported" in one
        else "an economic calendar"
        for one in imported
    ]
    return [f"All the same these were imported from it: {', '.join(told)}."] if told else []


def _traces(errors: Sequence[FxgptError]) -> str:
    """Return where faults of ours were raised, empty when there are none."""
    faults = [error.fault for error in errors if isinstance(error, FaultError)]
    return "\n".join("".join(traceback.format_exception(fault)) for fault in faults)
