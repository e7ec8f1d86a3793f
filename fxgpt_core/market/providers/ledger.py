"""The ledger of what providers have answered: which spans of bars need not be asked for again, bars or no bars.

One manifest per provider, symbol and timeframe in the lake's dataset `downloads`; it holds no rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

import numpy as np

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.bars import CANDLES, bar_keys
from fxgpt_core.market.lake import Lake, Manifest
from fxgpt_core.market.providers.provider import running_open, whole_bars
from fxgpt_core.store.clock import to_datetime64

DOWNLOADS = "downloads"
Span = tuple[np.datetime64, np.datetime64]
"""[start, end) of bar opens, datetime64[ns] in UTC."""

_FORTNIGHT = np.timedelta64(14 * 86_400 * 10**9, "ns")  # always holds a bar of every length
_DEFINITION = stable_hash({"downloads": "answered spans", "version": 1})


def ledger_keys(provider: str, symbol: str, bar: Timeframe) -> dict[str, str]:
    """Return the lake keys of one ledger; a name that is no name of a folder gets a hash for its odd letters."""
    plain = re.sub(r"[^\w-]+", "_", provider)
    folder = provider if plain == provider else f"{plain[-40:]}_{stable_hash(provider, 8)}"
    return {"provider": folder, **bar_keys(symbol, bar)}


def answered_spans(lake: Lake, provider: str, symbol: str, bar: Timeframe) -> list[Span]:
    """Return the spans that `provider` has answered, ascending and disjoint.

    Where bars came and the lake holds none of the kind any more, nothing counts as answered.
    """
    manifest = lake.read_manifest(DOWNLOADS, ledger_keys(provider, symbol, bar))
    if manifest is None:
        return []
    if manifest.extra["bars"] and lake.read_manifest(CANDLES, bar_keys(symbol, bar)) is None:
        return []
    return [(np.datetime64(start, "ns"), np.datetime64(end, "ns")) for start, end in manifest.extra["spans"]]


def record_answer(lake: Lake, provider: str, symbol: str, bar: Timeframe, span: Span, bars: int) -> None:
    """Add one answered span that brought `bars` bars; the caller holds the ledger's lock."""
    spans = _merged([*answered_spans(lake, provider, symbol, bar), span], bar)
    keys = ledger_keys(provider, symbol, bar)
    known = lake.read_manifest(DOWNLOADS, keys)
    extra = {
        "spans": [[str(start), str(end)] for start, end in spans],
        "bars": bars + (int(known.extra["bars"]) if known is not None else 0),
    }
    lake.write_manifest(DOWNLOADS, keys, Manifest(stable_hash(extra["spans"]), _DEFINITION, extra=extra))


def missing_spans(
    lake: Lake,
    provider: str,
    symbol: str,
    bar: Timeframe,
    start: np.datetime64,
    end: np.datetime64,
    now: datetime,
) -> list[Span]:
    """Return what of [start, end) is still to be asked for: spans of bars that have closed by `now`, ascending.

    `provider` is a provider's `name`. A span begins and ends with a bar of market hours; closed hours inside it are no
    bars and never asked for. Reads one manifest.
    """
    first, last = whole_bars(start, end, bar, to_datetime64(now))
    answered = [span for span in answered_spans(lake, provider, symbol, bar) if span[0] < last and span[1] > first]
    begins, ends = [first, *(over for _, over in answered)], [*(begin for begin, _ in answered), last]
    gaps = (_trimmed(begin, over, bar) for begin, over in zip(begins, ends, strict=True))
    return [gap for gap in gaps if gap is not None]


def month_spans(months: Iterable[str], bar: Timeframe, start: np.datetime64, end: np.datetime64) -> list[Span]:
    """Return the spans of the lake's months ("2024-03": bars that close in it) inside [start, end).

    Raises BadInputError for a month that is not written YYYY-MM.
    """
    spans = []
    for text in sorted(set(months)):
        try:
            month = np.datetime64(text, "M")
        except ValueError:
            month = np.datetime64("NaT", "M")
        if np.isnat(month) or str(month) != text:
            raise BadInputError(f"Month {text!r} is not written as YYYY-MM, for example 2024-03.")
        begin, over = ((at.astype("datetime64[ns]") - bar.duration) for at in (month, month + 1))
        begin, over = max(begin, np.datetime64(start, "ns")), min(over, np.datetime64(end, "ns"))
        if begin < over:
            spans.append((begin, over))
    return spans


def closed_spans(spans: Iterable[Span], bar: Timeframe, now: datetime) -> list[Span]:
    """Return the spans cut to whole bars of market hours that have closed by `now`, whoever answered them."""
    whole = (whole_bars(start, end, bar, to_datetime64(now)) for start, end in spans)
    return [span for span in (_trimmed(first, last, bar) for first, last in whole) if span is not None]


def settled_part(start: np.datetime64, end: np.datetime64, final: np.datetime64, bar: Timeframe) -> Span | None:
    """Return the part of [start, end) whose bars had closed by `final`, None when there is none."""
    until = min(end, running_open(final, bar))
    return (start, until) if start < until else None


def _trimmed(start: np.datetime64, end: np.datetime64, bar: Timeframe) -> Span | None:
    """Return [start, end) from its first bar of market hours to the close of its last, None when it has none."""
    head = calendar.bar_opens(start, min(end, start + _FORTNIGHT), bar)  # years of minutes need not all be laid out
    tail = calendar.bar_opens(max(start, end - _FORTNIGHT), end, bar)
    return (head[0], tail[-1] + bar.duration) if len(head) and len(tail) else None


def _merged(spans: list[Span], bar: Timeframe) -> list[Span]:
    """Return spans joined where no bar of market hours lies between them, so that weekends leave no trace."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and (start <= out[-1][1] or not len(calendar.bar_opens(out[-1][1], start, bar))):
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out
