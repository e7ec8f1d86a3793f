"""Slower timeframes in the lake: derived from given bars month by month, again only where those changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.market.bars import (
    CANDLES,
    bar_keys,
    by_month,
    checksum,
    fingerprint,
    origin,
    read_bars,
    supersede,
)
from fxgpt_core.market.lake import Lake, Manifest, PartEntry
from fxgpt_core.market.resampling import resample

_VERSION = 1
_MONTHS_AT_ONCE = 12
"""Fast bars that are in memory together; more would only miss the processor's caches."""


@dataclass
class _Plan:
    """What is to be done for one timeframe: `parts` that stay, months that are `stale`, and whether anything is due."""

    target: Timeframe
    keys: dict[str, str]
    definition: str
    parts: dict[str, PartEntry]
    present: set[str]
    stale: list[str]
    due: bool
    written: set[str] = field(default_factory=set)


def derive(
    lake: Lake, symbol: str, given: Manifest, feed: Timeframe, targets: Sequence[Timeframe], again: Sequence[str] = ()
) -> tuple[dict[str, int], dict[str, int]]:
    """Bring derived timeframes up to date; returns how many months of each were written and how many kept.

    `given` is the manifest of the given `feed` bars; months named in `again` ("2024-03") are derived whatever the
    manifests say. A month is read once for all targets, a year of months at a time.
    """
    sources = month_sources(given)
    with ExitStack() as held:
        for target in targets:
            held.enter_context(lake.lock(CANDLES, bar_keys(symbol, target)))
        plans = [_plan(lake, symbol, given, feed, target, sources, again) for target in targets]
        for plan in plans:
            if plan.due:
                _announce(lake, given, feed, plan)
        for months in _together({month for plan in plans if plan.due for month in plan.stale}):
            _write_months(lake, symbol, given, feed, plans, months, sources)
        for plan in plans:
            if plan.due:
                _finish(lake, symbol, given, feed, plan, sources)
    written = {plan.target.code: len(plan.stale) if plan.due else 0 for plan in plans}
    kept = {plan.target.code: len(set(plan.parts) - plan.written) for plan in plans}
    return written, kept


def _plan(
    lake: Lake,
    symbol: str,
    given: Manifest,
    feed: Timeframe,
    target: Timeframe,
    sources: dict[str, str],
    again: Sequence[str],
) -> _Plan:
    keys, side = bar_keys(symbol, target), str(given.extra["side"])
    definition = stable_hash({"resampling": _VERSION, "feed": feed.code, "side": side})
    old = lake.read_manifest(CANDLES, keys)
    if old is not None and origin(old) == "given":
        supersede(lake, keys, old)
        lake.remove(CANDLES, keys, lake.parts(CANDLES, keys))
        old = None
    known = old.extra["sources"] if old is not None and old.definition == definition else {}
    parts = dict(old.parts) if old is not None and known else {}
    present = set(lake.parts(CANDLES, keys))
    stale = [
        part
        for part, source in sources.items()
        if known.get(part) != source or (part in parts and part not in present) or part.split("=")[1] in again
    ]
    due = bool(stale) or set(known) != set(sources)
    return _Plan(target, keys, definition, parts, present, stale, due)


def _announce(lake: Lake, given: Manifest, feed: Timeframe, plan: _Plan) -> None:
    """Say which months are being written: a killed run is seen by it, and derives them again."""
    old = lake.read_manifest(CANDLES, plan.keys)
    known = old.extra["sources"] if old is not None and old.definition == plan.definition else {}
    extra = {"origin": "derived", "feed": feed.code, "side": str(given.extra["side"]), "sources": known}
    writing = {"name": f"bars made from {feed.code}", "months": plan.stale}
    manifest = Manifest("", plan.definition, parts=plan.parts, extra={**extra, "writing": writing})
    lake.write_manifest(CANDLES, plan.keys, manifest)


def _write_months(
    lake: Lake,
    symbol: str,
    given: Manifest,
    feed: Timeframe,
    plans: list[_Plan],
    months: list[str],
    sources: dict[str, str],
) -> None:
    """Read the fast bars of some consecutive months and write those that are stale of every timeframe."""
    side = str(given.extra["side"])
    # A slow bar that becomes known in a month may begin in the one before.
    before, last = _month(months[0]) - 1, _month(months[-1])
    needed = [part for part in sorted(given.parts) if before <= _month(part) <= last]
    if not needed:
        return
    fast = read_bars(lake, symbol, feed, side, needed)
    # Whether the last slow bar is over is for the whole history to say, not for the months that were read.
    until = None if last >= _month(max(given.parts)) else np.datetime64(last + 1, "ns")
    for plan in plans:
        for part, bars in by_month(resample(fast, plan.target, until)).items():
            if plan.due and part in plan.stale and part in months:
                lake.write(CANDLES, plan.keys, part, bars.to_arrow())
                plan.parts[part] = PartEntry(checksum(bars), len(bars), sources[part])
                plan.written.add(part)


def _finish(lake: Lake, symbol: str, given: Manifest, feed: Timeframe, plan: _Plan, sources: dict[str, str]) -> None:
    """Remove what no fast bar stands behind and write the manifest of the whole."""
    side = str(given.extra["side"])
    emptied = set(plan.stale) - plan.written
    gone = [part for part in {*plan.parts, *plan.present} if part not in sources or part in emptied]
    gone += [part for part in plan.present if part not in plan.parts and part not in gone]
    lake.remove(CANDLES, plan.keys, gone)
    plan.parts = {part: plan.parts[part] for part in sorted(plan.parts) if part not in gone}
    extra = {"origin": "derived", "feed": feed.code, "side": side, "sources": sources}
    whole = fingerprint(symbol, plan.target, side, plan.parts)
    manifest = Manifest(whole, plan.definition, {feed.code: given.fingerprint}, plan.parts, extra)
    lake.write_manifest(CANDLES, plan.keys, manifest)


def month_sources(given: Manifest) -> dict[str, str]:
    """Return what each month's slow bars are made from: month -> hash.

    A slow bar (at most a week) known in a month holds fast bars of that month and the one before; and whether the last
    one is over depends on whether any month follows.
    """
    months = np.array(sorted(part.removeprefix("month=") for part in given.parts), dtype="datetime64[M]")
    out = {}
    for month in np.arange(months[0], months[-1] + 1):
        entries = [given.parts.get(f"month={m}") for m in (month - 1, month)]
        made_from = [entry.checksum if entry else "" for entry in entries]
        out[f"month={month}"] = stable_hash([*made_from, bool(month == months[-1])])
    return out


def _together(months: set[str]) -> Iterator[list[str]]:
    """Cut months into runs of consecutive ones that are read together."""
    run: list[str] = []
    for part in sorted(months):
        if run and (_month(part) != _month(run[-1]) + 1 or len(run) == _MONTHS_AT_ONCE):
            yield run
            run = []
        run.append(part)
    if run:
        yield run


def _month(part: str) -> np.datetime64:
    return np.datetime64(part.removeprefix("month="), "M")
