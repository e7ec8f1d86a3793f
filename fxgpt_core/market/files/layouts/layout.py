"""The seam of file layouts: what a file is before reading (`Member`), what reading gives (`RawTable`), who does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.hashing import bytes_hash
from fxgpt_core.common.symbols import CURRENCIES
from fxgpt_core.market.clocks.stamps import Stamps
from fxgpt_core.market.files.layouts.text import Head, decode, read_head

OHLC = ("open", "high", "low", "close")
BOTH_SIDES = tuple(f"{side}_{price}" for side in ("bid", "ask") for price in OHLC)


@dataclass(frozen=True)
class Member:
    """One file's content: a plain file, or one file of an archive, whose name then stands in `inside`."""

    path: Path
    data: bytes
    inside: str = ""

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"{self.path} ({self.inside})" if self.inside else str(self.path)

    @property
    def name(self) -> str:
        """The file's own name."""
        return Path(self.inside).name if self.inside else self.path.name

    @cached_property
    def checksum(self) -> str:
        """Hash of the content."""
        return bytes_hash(self.data)

    @cached_property
    def text(self) -> bytes:
        """The content as UTF-8 text without a byte-order mark; raises BadInputError for a binary file."""
        return decode(self.where, self.data)

    @cached_property
    def head(self) -> Head:
        """The first lines; raises BadInputError for a binary file."""
        return read_head(self.text)

    @property
    def is_text(self) -> bool:
        """Whether the content reads as text."""
        try:
            return bool(self.text.strip())
        except BadInputError:
            return False

    def names(self) -> list[str]:
        """Return the names that may say what it is: its own, its archive's, then the folders, nearest first."""
        folders = list(reversed(Path(self.inside).parts[:-1])) if self.inside else []
        outer = [self.path.name, *(part.name for part in self.path.absolute().parents)]
        return [self.name, *folders, *outer] if self.inside else outer

    @property
    def symbol(self) -> str | None:
        """The pair that the names say, None when they say none."""
        inner, *rest = self.names()
        found = symbol_in(inner)
        # Folders are believed only when they are nothing but a pair; a home called /eur/usdata says nothing.
        outer = [symbol_in(name) for name in rest if name == self.path.name or len(name) <= 8]
        return found or next((pair for pair in outer if pair), None)


def symbol_in(name: str) -> str | None:
    """Return the pair that a name contains (`DAT_ASCII_EURUSD_M1`, `eur-usd.csv`), None when there is none."""
    text = Path(name).stem.upper()
    for start in range(len(text) - 5):
        base, rest = text[start : start + 3], text[start + 3 :].lstrip(" _/-")[:3]
        gap = len(text[start + 3 :]) - len(text[start + 3 :].lstrip(" _/-"))
        if gap <= 1 and base in CURRENCIES and rest in CURRENCIES and base != rest:
            return base + rest
    return None


@dataclass(frozen=True)
class RawTable:
    """A file's rows before anything is judged, in the file's order.

    `frame`: `line` (1-based line or row of the file), `stamp` (as it stood), `malformed` (bool: a wrong number of
    fields; the whole line is then the stamp), and the values (numbers, or text where some are no numbers): OHLC; or
    `BOTH_SIDES`; or, for ticks, `bid` and `ask`; where given, `volume` and `spread`.
    `stamps` are given where the layout itself says how to read them; `clock` and `clock_how` where it (or the name of
    the time column) says which clock they are in, `documented` what its vendor says and files often break.
    `side` is "" where the content does not say it; "both" for `BOTH_SIDES`. `filler` rows stood for closed minutes and
    were left out.
    """

    frame: pd.DataFrame
    layout: str
    kind: Literal["bars", "ticks"] = "bars"
    delimiter: str = ""
    stamps: Stamps | None = None
    clock: str = ""
    clock_how: str = ""
    documented: str = ""
    side: str = ""
    side_how: str = ""
    filler: int = 0
    period: tuple[np.datetime64, np.datetime64] | None = None


@dataclass(frozen=True)
class Layout:
    """One layout: `recognise` looks at names and first lines only, `read` takes the whole."""

    name: str
    recognise: Callable[[Member], bool]
    read: Callable[[Member], RawTable]
