"""Archives: `.zip` and `.gz` with one or several files in them, also one inside the other."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.files.layouts.layout import Member

_LIMIT = 2 << 30
_SMALL = 64 << 20
_RATIO = 250  # tables of prices pack 5 to 20 times, the emptiest of them 100 times
_DEPTH = 3


class _Budget:
    """How many bytes may still be unpacked from one file, over all archives inside one another."""

    def __init__(self, where: str, packed: int) -> None:
        self._where, self.left = where, min(_LIMIT, max(_SMALL, _RATIO * packed))

    def spend(self, size: int) -> None:
        """Take `size` bytes; raises BadInputError where there are not so many left."""
        if size > self.left:
            raise BadInputError(
                f"{self._where} unpacks to more than a file of bars of its size can be: unpack it and import its parts."
            )
        self.left -= size


def members(path: Path) -> list[Member]:
    """Return the files that a path holds: itself, or what lies in it where it is an archive.

    Raises BadInputError when it cannot be read, is empty, damaged, protected by a password or absurdly large: before
    memory is taken for it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}.") from error
    found = list(_inside(path, data, "", 0, _Budget(str(path), len(data))))
    if not found:
        raise BadInputError(f"{path} is an archive without files.")
    return found


def _inside(path: Path, data: bytes, inside: str, depth: int, budget: _Budget) -> Iterator[Member]:
    name = Path(inside or path.name)
    where = f"{path} ({inside})" if inside else str(path)
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06") and depth < _DEPTH:
        for inner, content in _unzipped(where, data, budget):
            yield from _inside(path, content, f"{inside}/{inner}" if inside else inner, depth + 1, budget)
    elif data[:2] == b"\x1f\x8b" and depth < _DEPTH:
        inner = name.stem if name.suffix.lower() == ".gz" else name.name
        folder = f"{inside}/" if inside else ""
        yield from _inside(path, _gunzipped(where, data, budget), folder + inner, depth + 1, budget)
    else:
        yield Member(path, data, inside)


def _unzipped(where: str, data: bytes, budget: _Budget) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir() and not _hidden(info.filename)]
            budget.spend(sum(info.file_size for info in infos))  # more than it says is not read
            for info in sorted(infos, key=lambda info: info.filename):
                yield info.filename, archive.read(info)
    except RuntimeError as error:  # what zipfile raises for a password
        raise BadInputError(f"{where} is protected by a password: unpack it first.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise BadInputError(f"{where} is a damaged zip archive: {str(error).rstrip('.')}.") from error


def _gunzipped(where: str, data: bytes, budget: _Budget) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as archive:
            plain = archive.read(budget.left + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInputError(f"{where} is a damaged gzip file: {str(error).rstrip('.')}.") from error
    budget.spend(len(plain))
    return plain


def _hidden(name: str) -> bool:
    """Tell whether a file is nobody's table; a path that climbs out (`../EURUSD.csv`) is only a name here."""
    return any(part.startswith((".", "__MACOSX")) and part != ".." for part in Path(name).parts)
