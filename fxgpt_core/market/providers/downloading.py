"""`download`: a provider's bars into the lake, only what is missing, stored chunk by chunk (SPEC 1).

A chunk's bars are stored first and its span is recorded as answered after that, so that whatever interrupts a download,
nothing recorded is lost and nothing answered is asked for twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.common.symbols import normalise_symbol
from fxgpt_core.common.timeframes import Timeframe, timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.bars import Source, by_month, store_given
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.providers.ledger import (
    DOWNLOADS,
    Span,
    closed_spans,
    ledger_keys,
    missing_spans,
    month_spans,
    record_answer,
    settled_part,
)
from fxgpt_core.market.providers.provider import Chunk, Provider, ProviderError, Remote, no_bars
from fxgpt_core.market.quality.assessment import Assessment, assess
from fxgpt_core.store.clock import Clock, to_datetime64

__all__ = ["BrokenOff", "DownloadSummary", "download", "missing_spans"]


@dataclass(frozen=True)
class DownloadSummary:
    """What a download asked for and got. Times are ISO 8601, UTC.

    `asked`: spans of bar opens, first open to last close; `answered_bars` of their `expected` market-hour bars came,
    `rows_changed` of these were new to the lake or differ from what it held; `quarantined`: rows set aside, by reason;
    `empty_chunks` of `chunks` had no bar. `requests` were made on the network, repeated ones included. `open_from`: the
    first bar that is to be asked for another time (running, not settled, or not reached), None when there is none.
    """

    provider: str
    symbol: str
    timeframe: str
    side: str
    asked: tuple[tuple[str, str], ...]
    expected: int
    answered_bars: int = 0
    rows_changed: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    chunks: int = 0
    empty_chunks: int = 0
    requests: int = 0
    first: str | None = None
    last: str | None = None
    open_from: str | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON-able values."""
        return {**asdict(self), "asked": [list(span) for span in self.asked], "warnings": list(self.warnings)}


class BrokenOff(ProviderError):
    """A download that a provider's error ended. `summary`: what came before, and is kept; `cause`: the error."""

    def __init__(self, cause: ProviderError, summary: DownloadSummary) -> None:
        kept = f"{summary.answered_bars} bars came before" if summary.answered_bars else "No bar came before"
        super().__init__(f"{cause} {kept}; the same download carries on there.")
        self.summary, self.cause, self.exit_code = summary, cause, cause.exit_code


def download(
    lake: Lake,
    provider: Provider,
    symbol: str,
    bar: str | Timeframe,
    start: np.datetime64,
    end: np.datetime64,
    quality: QualityConfig,
    clock: Clock,
    progress: Progress = silent,
    months: Sequence[str] = (),
) -> DownloadSummary:
    """Fetch the bars that open in [start, end), UTC, as far as they have closed and are not in the ledger.

    With `months` ("2024-03", bars that close in it) those are fetched anew, answered before or not, and nothing else.
    Doing it again asks for nothing that was answered. Raises BrokenOff when the provider fails, with what came stored;
    BadInputError when the lake holds bars that these cannot be mixed with; StoreError while another process downloads
    the same.
    """
    pair, frame = normalise_symbol(symbol), timeframe(bar)
    with lake.lock(DOWNLOADS, ledger_keys(provider.name, pair, frame)):
        now = clock.now()
        spans = (
            closed_spans(month_spans(months, frame, start, end), frame, now)
            if months
            else missing_spans(lake, provider.name, pair, frame, start, end, now)
        )
        run = _Run(lake, provider, pair, frame, quality, spans, now, progress)
        try:
            run.everything()
        except ProviderError as error:
            raise BrokenOff(error, run.summary(start, end)) from error
        return run.summary(start, end)


class _Run:
    """One download while it goes on: stores, records and counts."""

    def __init__(
        self,
        lake: Lake,
        provider: Provider,
        symbol: str,
        bar: Timeframe,
        quality: QualityConfig,
        spans: list[Span],
        now: datetime,
        progress: Progress,
    ) -> None:
        self._lake, self._provider, self._symbol, self._bar = lake, provider, symbol, bar
        self._quality, self._spans, self._now, self._progress = quality, spans, now, progress
        self._requests = provider.requests if isinstance(provider, Remote) else 0
        at = to_datetime64(now)
        self._final = provider.final_until(at) if isinstance(provider, Remote) else at
        self._expected = sum(len(calendar.bar_opens(first, last, bar)) for first, last in spans)
        self._reached = self._bars = self._changed = self._chunks = self._empty = 0
        self._quarantined: Counter[str] = Counter()
        self._first: np.datetime64 | None = None
        self._last: np.datetime64 | None = None

    def everything(self) -> None:
        """Ask for every span in turn."""
        what = f"{self._provider.name} {self._symbol} {self._bar}"
        for start, end in self._spans:
            reached = start
            for chunk in self._provider.fetch(self._symbol, self._bar, start, end):
                if chunk.start != reached or chunk.end <= chunk.start:
                    raise DataError(
                        f"Provider {self._provider.name} answers {chunk.start} to {chunk.end} where {reached} comes "
                        "next: its chunks are not contiguous."
                    )
                reached = chunk.end
                self._take(chunk)
                self._progress(what, min(self._reached, self._expected - 1), self._expected, f"{self._bars} bars")
        if self._spans:
            self._progress(what, self._expected, self._expected, f"{self._bars} bars")

    def _take(self, chunk: Chunk) -> None:
        """Store a chunk, then record its span."""
        parts = _by_month(chunk, self._bar)
        for month, (candles, set_aside) in parts.items():
            judged = _judged(candles, set_aside, self._quality)
            usable = Candles.from_frame(judged.clean, self._symbol, self._bar, candles.side)
            self._changed += store_given(self._lake, usable, judged, self._source(month))
            self._count(usable, judged)
        settled = settled_part(chunk.start, chunk.end, self._final, self._bar)
        if settled is not None:
            record_answer(self._lake, self._provider.name, self._symbol, self._bar, settled, len(chunk.candles))
        self._chunks += 1
        self._empty += not len(chunk.candles)
        self._reached += len(calendar.bar_opens(chunk.start, chunk.end, self._bar))

    def _count(self, bars: Candles, judged: Assessment) -> None:
        self._bars += len(bars)
        self._quarantined.update(judged.report.quarantined)
        if len(bars):
            self._first = bars.ts_utc[0] if self._first is None else min(self._first, bars.ts_utc[0])
            self._last = bars.known_at[-1] if self._last is None else max(self._last, bars.known_at[-1])

    def _source(self, month: str) -> Source:
        """Return the source of one provider and month, the same whichever of its chunks comes."""
        name, side = self._provider.name, self._provider.side
        facts = {"layout": name, "side": f"{side} (of the provider)", "time_zone": "UTC (of the provider)"}
        check = stable_hash(["provider", name, self._symbol, self._bar.code, month])
        return Source(f"{name} {self._symbol} {self._bar} {month}", check, facts)

    def summary(self, start: np.datetime64, end: np.datetime64) -> DownloadSummary:
        """Return what has been done so far."""
        name = self._provider.name
        still = missing_spans(self._lake, name, self._symbol, self._bar, start, end, self._now)
        made = self._provider.requests - self._requests if isinstance(self._provider, Remote) else 0
        summary = DownloadSummary(
            provider=name,
            symbol=self._symbol,
            timeframe=self._bar.code,
            side=self._provider.side,
            asked=tuple((_text(first), _text(last)) for first, last in self._spans),
            expected=self._expected,
            answered_bars=self._bars,
            rows_changed=self._changed,
            quarantined=dict(sorted(self._quarantined.items())),
            chunks=self._chunks,
            empty_chunks=self._empty,
            requests=made,
            first=None if self._first is None else _text(self._first),
            last=None if self._last is None else _text(self._last),
            open_from=_text(still[0][0]) if still else None,
        )
        return replace(summary, warnings=_warnings(summary))


def _by_month(chunk: Chunk, bar: Timeframe) -> dict[str, tuple[Candles, pd.DataFrame | None]]:
    """Return the bars and the rows set aside per month of their close ("2024-03"); months without either are absent."""
    bars = {part.removeprefix("month="): part_bars for part, part_bars in by_month(chunk.candles).items()}
    rows: dict[str, pd.DataFrame] = {}
    if chunk.set_aside is not None:
        stamps = chunk.set_aside["ts_utc"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
        stamps = np.where(np.isnat(stamps), chunk.start, stamps) + bar.duration
        months = stamps.astype("datetime64[M]").astype(str)
        rows = {str(month): chunk.set_aside[months == month] for month in np.unique(months)}
    none = no_bars(chunk.candles.symbol, bar, chunk.candles.side)
    return {month: (bars.get(month, none), rows.get(month)) for month in sorted({*bars, *rows})}


def _judged(candles: Candles, set_aside: pd.DataFrame | None, quality: QualityConfig) -> Assessment:
    """Return the assessment of a provider's bars together with the rows that the provider set aside."""
    judged = assess(candles.to_frame().reset_index(), candles.symbol, candles.timeframe, quality)
    if set_aside is None or set_aside.empty:
        return judged
    parts = [part for part in (judged.quarantine, set_aside) if len(part)]
    quarantine = pd.concat(parts, ignore_index=True)
    counts = {str(reason): int(count) for reason, count in quarantine["reason"].value_counts().items()}
    report = replace(judged.report, quarantined=counts, rows=judged.report.usable + len(quarantine))
    return Assessment(report, judged.clean, quarantine)


def _warnings(summary: DownloadSummary) -> tuple[str, ...]:
    found = []
    if summary.chunks and not summary.answered_bars and summary.expected:
        found.append(
            f"{summary.provider} has no bar of {summary.symbol} in what was asked: perhaps it has no such pair, or its "
            "history begins later."
        )
    sentences = {
        "contradictory": "rows contradict another row of the same time; all of them are set aside",
        "one_sided": "bars have a bid or an ask only; they are set aside",
    }
    found += [f"{summary.quarantined[why]} {text}." for why, text in sentences.items() if why in summary.quarantined]
    return tuple(found)


def _text(moment: np.datetime64) -> str:
    return f"{moment.astype('datetime64[s]')}Z"
