"""`read_files`: files of bars or ticks as raw rows in UTC, with what was recognised and how it is known."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from fxgpt_core.common.errors import BadInputError, DataError, FxgptError
from fxgpt_core.common.symbols import normalise_symbol
from fxgpt_core.common.timeframes import TIMEFRAMES, Timeframe
from fxgpt_core.common.timeframes import timeframe as parse_timeframe
from fxgpt_core.market.candles import SIDES
from fxgpt_core.market.clocks.files import TimedTable, tell_times
from fxgpt_core.market.clocks.stamps import Stamps, parse_stamps
from fxgpt_core.market.clocks.time_zones import Zone, parse_zone
from fxgpt_core.market.files.layouts import POINTS, Member, RawTable, check_layout, read_table
from fxgpt_core.market.files.layouts.archives import members
from fxgpt_core.market.files.layouts.events import is_events
from fxgpt_core.market.files.layouts.layout import BOTH_SIDES
from fxgpt_core.market.files.scales import to_prices
from fxgpt_core.market.zones import Times

_SPACING = {bar.minutes: bar for bar in TIMEFRAMES.values() if bar.code != "1w"} | {10080: TIMEFRAMES["1w"]}
_TICK_BARS = 60


@dataclass(frozen=True)
class Claims:
    """What a person says about files; None is recognised. Raises BadInputError where a claim itself makes no sense."""

    symbol: str | None = None
    layout: str | None = None
    tz: str | None = None
    side: str | None = None
    timeframe: str | Timeframe | None = None

    def __post_init__(self) -> None:
        if self.layout is not None:
            check_layout(self.layout)
        if self.side is not None and self.side not in SIDES:
            raise BadInputError(f"Unknown price side {self.side!r}: use one of {', '.join(SIDES)}.")
        _ = self.pair, self.bar, self.zone

    @property
    def pair(self) -> str | None:
        """The symbol, normalised."""
        return normalise_symbol(self.symbol) if self.symbol is not None else None

    @property
    def bar(self) -> Timeframe | None:
        """The timeframe, parsed."""
        return parse_timeframe(self.timeframe) if self.timeframe is not None else None

    @property
    def zone(self) -> Zone | None:
        """The clock, parsed."""
        return parse_zone(self.tz) if self.tz is not None else None


@dataclass(frozen=True)
class RawBars:
    """Rows of one file, unjudged.

    `frame`: `line` of the file, `ts_utc` (UTC, NaT where unreadable), `stamp` as it stood, `malformed`, and in price
    units: OHLC (`side` is theirs), or bid and ask OHLC (`side` "both"), or for ticks (`kind`) bid and ask; volume and
    spread where given. The `…_how` say how something is known. `period` is the span that a tick file covers whole.
    """

    frame: pd.DataFrame
    kind: str
    symbol: str
    timeframe: Timeframe
    side: str
    side_how: str
    layout: str
    delimiter: str
    scale: str
    time_zone: str
    time_zone_how: str
    path: Path
    name: str
    checksum: str
    filler: int = 0
    period: tuple[np.datetime64, np.datetime64] | None = None
    warnings: tuple[str, ...] = ()


@dataclass
class Readings:
    """What came of some files: rows of bars or ticks, economic calendars, and what could not be read and why."""

    bars: list[RawBars] = field(default_factory=list)
    events: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, FxgptError]] = field(default_factory=list)


def read_file(
    path: str | Path,
    *,
    symbol: str | None = None,
    layout: str | None = None,
    tz: str | None = None,
    side: str | None = None,
    timeframe: str | Timeframe | None = None,
) -> RawBars:
    """Read the one file of bars or ticks that a path holds; what is not given is recognised.

    Raises BadInputError with one sentence when the file, or what it is, cannot be told, or when it holds several.
    """
    found = read_files([Path(path)], Claims(symbol, layout, tz, side, timeframe))
    if found.failed:
        raise found.failed[0][1]
    if len(found.bars) != 1:
        raise BadInputError(f"{path} holds {len(found.bars)} files of bars: read them with read_files.")
    return found.bars[0]


def read_files(paths: Sequence[Path], claims: Claims) -> Readings:
    """Read files together: files of one pair, layout and bar length share the evidence about their clock.

    What cannot be used is told in `failed` and does not keep the others from being read, whatever the fault.
    """
    out, tables = Readings(), []
    for path in paths:
        try:
            tables += _open(path, claims, out)
        except BadInputError as error:
            out.failed.append((path, error))
        except Exception as error:
            out.failed.append((path, FaultError(path, error)))
    groups: dict[tuple[str, str, str], list[_Opened]] = defaultdict(list)
    for one in tables:
        groups[one.symbol, one.table.layout, one.table.kind].append(one)
    for group in groups.values():
        _contain(group, claims, out)
    order = {path: index for index, path in enumerate(paths)}
    out.bars.sort(key=lambda raw: order[raw.path])
    return out


class FaultError(DataError):
    """A fault of ours, not of the file, kept from stopping other files; `fault` is what was raised."""

    def __init__(self, path: Path, fault: Exception) -> None:
        super().__init__(f"{path}: unexpected {type(fault).__name__}: {fault}.")
        self.fault = self.__cause__ = fault


@dataclass(frozen=True)
class _Opened:
    member: Member
    table: RawTable
    symbol: str
    stamps: Stamps
    left_out: tuple[str, ...]


def _open(path: Path, claims: Claims, out: Readings) -> list[_Opened]:
    """Return the tables of a path; of an archive those that are tables, the others are named beside them."""
    found: list[_Opened] = []
    lost: list[tuple[str, BadInputError]] = []
    inside = members(path)
    for member in inside:
        if is_events(member):
            out.events.append(path)
            continue
        try:
            found.append(_table(member, claims))
        except BadInputError as error:
            lost.append((member.inside, error))
    if lost and not found and path not in out.events:
        raise lost[0][1]
    notes = tuple(f"{name} in the archive was left out: {error}" for name, error in lost)
    return [_Opened(one.member, one.table, one.symbol, one.stamps, notes if one is found[0] else ()) for one in found]


def _table(member: Member, claims: Claims) -> _Opened:
    table = read_table(member, claims.layout)
    symbol = claims.pair or member.symbol
    if symbol is None:
        raise BadInputError(
            f"The name of {member.where} names no currency pair: say which it is, for example --symbol EURUSD."
        )
    stamps = table.stamps
    if stamps is None:
        column, malformed = table.frame["stamp"], table.frame["malformed"]
        stamps = parse_stamps(column.where(~malformed) if malformed.any() else column, member.where)
    return _Opened(member, table, symbol, stamps, ())


def _contain(group: list[_Opened], claims: Claims, out: Readings) -> None:
    """Read a group, or, where one of them shows a fault of ours, each of it alone."""
    found = Readings()
    try:
        _read_group(group, claims, found)
    except Exception as error:
        if len(group) > 1:
            for one in group:
                _contain([one], claims, out)
            return
        found = Readings(failed=[(group[0].member.path, FaultError(group[0].member.path, error))])
    out.bars += found.bars
    out.failed += found.failed


def _read_group(group: list[_Opened], claims: Claims, out: Readings) -> None:
    timed: dict[Timeframe, list[tuple[_Opened, TimedTable]]] = defaultdict(list)
    for one in group:
        try:
            length = _length(one, group, claims.bar)
        except BadInputError as error:
            out.failed.append((one.member.path, error))
            continue
        timed[length].append((one, TimedTable(one.member.where, one.table, one.stamps, length)))
    for length, ones in timed.items():
        answers = tell_times([table for _, table in ones], claims.zone)
        for (one, _), answer in zip(ones, answers, strict=True):
            if isinstance(answer, BadInputError):
                out.failed.append((one.member.path, answer))
                continue
            try:
                side, side_how = _side(one, claims.side)
                frame = _one_side(one.table.frame, side) if one.table.side == "both" else one.table.frame
                frame = frame.copy(deep=False)
                frame.insert(0, "ts_utc", pd.DatetimeIndex(answer.times).tz_localize("UTC"))
                frame, points = _priced(one, frame, claims.layout == POINTS)
            except BadInputError as error:
                out.failed.append((one.member.path, error))
                continue
            bar = (claims.bar or TIMEFRAMES["1m"]) if one.table.kind == "ticks" else length
            out.bars.append(
                RawBars(
                    frame,
                    one.table.kind,
                    one.symbol,
                    bar,
                    side,
                    side_how,
                    POINTS if points and one.table.layout in ("csv", "mt5") else one.table.layout,
                    one.table.delimiter,
                    points or "decimal",
                    answer.name,
                    answer.how,
                    one.member.path,
                    f"{one.member.path.name}:{one.member.inside}" if one.member.inside else one.member.path.name,
                    one.member.checksum,
                    one.table.filler,
                    one.table.period,
                    (*answer.warnings, *one.left_out),
                )
            )


def _priced(one: _Opened, frame: pd.DataFrame, insist: bool) -> tuple[pd.DataFrame, str]:
    try:
        return to_prices(frame, one.symbol, insist, one.table.layout)
    except BadInputError as error:
        raise BadInputError(f"{one.member.where}: {error}") from error


def _length(one: _Opened, group: list[_Opened], wanted: Timeframe | None) -> Timeframe:
    """Return the bar length: the commonest distance between stamps, which must agree with what was given."""
    where = one.member.where
    if one.table.kind == "ticks":
        if wanted is not None and wanted.minutes > _TICK_BARS:
            raise BadInputError(
                f"{where} holds ticks: make bars of up to 1h of them; slower bars are derived from those."
            )
        return TIMEFRAMES["1m"]
    distinct = _distinct(one)
    if len(distinct) < 2:
        others = [_distinct(other) for other in group]
        distinct = max(others, key=len)
    if len(distinct) < 2:
        if wanted is None:
            raise BadInputError(f"{where} has fewer than two readable time stamps: name its bars with --timeframe.")
        return wanted
    steps, counts = np.unique(np.diff(distinct), return_counts=True)
    minutes = steps[counts.argmax()] / np.timedelta64(1, "m")
    found = _SPACING.get(int(minutes)) if minutes == int(minutes) else None
    if found is None:
        raise BadInputError(f"{where}: bars are mostly {minutes:g} minutes apart, which is no timeframe of ours.")
    if wanted is not None and wanted != found:
        raise BadInputError(f"{where}: bars are mostly {found} apart, not {wanted} as given.")
    return found


def _distinct(one: _Opened) -> Times:
    times = one.stamps.times[~np.isnat(one.stamps.times)]
    ascending = len(times) < 2 or bool((np.diff(times) > np.timedelta64(0, "ns")).all())
    return times if ascending else np.asarray(np.unique(times))


def _side(one: _Opened, given: str | None) -> tuple[str, str]:
    """Return the price side: as the rows themselves say, as given, as the name says, as the layout is."""
    if one.table.side == "both":
        if given in (None, "mid"):
            return "both", one.table.side_how
        if one.table.kind == "ticks":
            raise BadInputError(f"{one.member.where} holds ticks, which become mid bars: leave --side {given} out.")
        return str(given), f"as given; {one.table.side_how}"
    if given is not None:
        return given, "as given"
    if one.table.side and one.table.side_how == "from the header":
        return one.table.side, one.table.side_how
    for name in one.member.names()[:2]:
        words = re.split(r"[^a-z]+", name.lower())
        found = [side for side in SIDES if side in words]
        if len(found) == 1:
            return found[0], "from the file name"
    if one.table.side:
        return one.table.side, one.table.side_how
    return "bid", "assumed: platforms export bid bars"


def _one_side(frame: pd.DataFrame, side: str) -> pd.DataFrame:
    """Return rows of both sides as those of the one that was asked for."""
    if side == "both":
        return frame
    names = {name: name.removeprefix(f"{side}_") for name in BOTH_SIDES if name.startswith(f"{side}_")}
    return frame[[name for name in frame if name in names or name not in BOTH_SIDES]].rename(columns=names)
