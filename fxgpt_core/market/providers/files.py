"""Files on disk as a provider: every file of bars or ticks below a folder, in any known layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from fxgpt_core.common.config import Config as _Config
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.files.judging import judge
from fxgpt_core.market.files.reading import Claims, RawBars, read_files
from fxgpt_core.market.files.tick_bars import bars_of
from fxgpt_core.market.providers.provider import Chunk, Pace, ProviderError, month_turns, pieces, whole_bars
from fxgpt_core.market.quality.assessment import PRICES
from fxgpt_core.market.resampling import resample
from fxgpt_core.market.sides import combine_sides
from fxgpt_core.market.zones import Times
from fxgpt_core.store.clock import to_datetime64


class Config(_Config):
    """Where the files lie, and what they do not say themselves."""

    folder: str = Field(description="Folder whose files, in all its subfolders, hold the bars.")
    pattern: str = Field("*", description="File names that are looked at, such as *.csv or DAT_ASCII_*.zip.")
    layout: str | None = Field(None, description="Layout of the files; none: recognised.")
    tz: str | None = Field(None, description="Time zone of their stamps; none: recognised.")
    price: Literal["mid", "bid", "ask"] | None = Field(None, description="Price side; none: recognised.")


def create(config: Config, pace: Pace) -> LocalFiles:
    """Return the files as a provider."""
    return LocalFiles(config, pace)


class LocalFiles:
    """Bars of files; bid and ask files of one pair make mid bars. Files are read once, when first asked for."""

    def __init__(self, config: Config, pace: Pace | None = None) -> None:
        self._config, self._pace = config, pace or Pace()
        self._symbols: dict[str, list[RawBars]] | None = None

    @property
    def name(self) -> str:
        """`files:` and the folder."""
        return f"files:{self._config.folder}"

    @property
    def side(self) -> str:
        """The side of the bars: the one that all files have, mid where they have both."""
        sides = {raw.side for raws in self._read().values() for raw in raws}
        return sides.pop() if len(sides) == 1 and "both" not in sides else "mid"

    def fetch(self, symbol: str, timeframe: Timeframe, start: np.datetime64, end: np.datetime64) -> Iterator[Chunk]:
        """Yield the bars that open in [start, end) month by month, up to the last that the files hold.

        Raises ProviderError when the files hold no bars of the pair that are as fast as `timeframe`.
        """
        candles, set_aside = self._bars(symbol, timeframe)
        until = min(to_datetime64(self._pace.clock.now()), candles.known_at[-1])
        first, last = whole_bars(start, end, timeframe, until)
        aside = _naive(set_aside["ts_utc"]) if len(set_aside) else np.empty(0, "datetime64[ns]")
        for begin, stop in pieces(first, last, month_turns(first, last, timeframe)):
            inside = (candles.ts_utc >= begin) & (candles.ts_utc < stop)
            rows = set_aside[((aside >= begin) & (aside < stop)) | (np.isnat(aside) & (begin == first))]
            yield Chunk(begin, stop, candles.take(inside), rows.reset_index(drop=True) if len(rows) else None)

    def _read(self) -> dict[str, list[RawBars]]:
        if self._symbols is None:
            folder, config = Path(self._config.folder), self._config
            paths = [path for path in sorted(folder.rglob(config.pattern)) if path.is_file() and path.name[0] != "."]
            if not paths:
                raise ProviderError(f"No file in {folder} is named {config.pattern}: name the folder that holds them.")
            found = read_files(paths, Claims(layout=config.layout, tz=config.tz, side=config.price))
            if not found.bars and found.failed:
                raise ProviderError(f"No file in {folder} holds bars: {found.failed[0][1]}") from found.failed[0][1]
            self._symbols = {}
            for raw in found.bars:
                self._symbols.setdefault(raw.symbol, []).append(raw)
        return self._symbols

    def _bars(self, symbol: str, timeframe: Timeframe) -> tuple[Candles, pd.DataFrame]:
        raws = [raw for raw in self._read().get(symbol, []) if raw.timeframe <= timeframe]
        if not raws:
            raise ProviderError(
                f"The files in {self._config.folder} hold no bars of {symbol} that are {timeframe} or faster."
            )
        # The slowest that is fast enough: bars of the timeframe itself where there are any.
        bar = max(raw.timeframe for raw in raws)
        made, set_aside = _judged([raw for raw in raws if raw.timeframe == bar], bar)
        if not len(made):
            raise ProviderError(f"The files in {self._config.folder} hold no usable bar of {symbol}.")
        return (made if bar == timeframe else resample(made, timeframe)), set_aside


def _judged(raws: Sequence[RawBars], bar: Timeframe) -> tuple[Candles, pd.DataFrame]:
    """Return the usable bars of one bar length, both sides combined, and the rows set aside."""
    quality = QualityConfig()
    parts: dict[str, list[Candles]] = {}
    aside: list[pd.DataFrame] = []
    for raw in raws:
        if raw.kind == "ticks":
            continue
        candles, judged = judge(raw, quality)
        aside.append(judged.quarantine)
        if candles is not None:
            parts.setdefault(candles.side, []).append(candles)
    ticks = [raw for raw in raws if raw.kind == "ticks"]
    if ticks:
        made, rest, _ = bars_of(ticks, bar)
        parts.setdefault(made.side, []).append(made)
        aside.append(rest)
    sides = {side: _merged(found) for side, found in parts.items()}
    if {"bid", "ask"} <= set(sides):
        sides["mid"] = _merged([*parts.get("mid", []), combine_sides(sides["bid"], sides["ask"])])
    if not sides:
        raise ProviderError(f"{raws[0].path} and the files beside it hold no usable bar.")
    chosen = "mid" if "mid" in sides else next(iter(sides))
    columns = ["row", "ts_utc", "stamp", *PRICES, "volume", "spread", "reason"]
    rows = pd.concat(aside, ignore_index=True)
    return sides[chosen], rows[[name for name in columns if name in rows]]


def _merged(parts: Sequence[Candles]) -> Candles:
    """Return the bars of several files together; of two bars of one time the later file's."""
    if len(parts) == 1:
        return parts[0]
    stamps = np.concatenate([part.ts_utc for part in parts])
    distinct, last = np.unique(stamps[::-1], return_index=True)
    rows = len(stamps) - 1 - last
    names = ("open", "high", "low", "close", "volume", "spread")
    values = {name: np.concatenate([getattr(part, name) for part in parts])[rows] for name in names}
    return replace(parts[0], ts_utc=distinct, **values)


def _naive(column: pd.Series) -> Times:
    return np.asarray(pd.to_datetime(column, utc=True).dt.tz_localize(None).to_numpy(dtype="datetime64[ns]"))
