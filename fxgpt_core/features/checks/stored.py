"""`check_stored`: is what lies in the lake, bit for bit, what would be computed now?

Some months of each dataset are compared: slower bars with those made of the bars that they were derived from, features
and targets with those computed from the stored bars. What is missing or older than the bars is noted, not judged: the
next materialisation makes it anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.timeframes import TIMEFRAMES, Timeframe, timeframe
from fxgpt_core.features.blocks import block_sources, compute_block, months
from fxgpt_core.features.checks.comparison import Comparison, Leak
from fxgpt_core.features.checks.cuts import Cut
from fxgpt_core.features.spec import FeatureSpec, check_layout
from fxgpt_core.features.standardised import Targets, make_targets
from fxgpt_core.features.stored import FEATURES, TARGETS
from fxgpt_core.features.surroundings import load_releases, surroundings
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.bars import CANDLES, bar_keys, origin, read_bars
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.derived import month_sources
from fxgpt_core.market.history import load_candles
from fxgpt_core.market.resampling import resample

if TYPE_CHECKING:
    from fxgpt_core.market.lake import Lake, Manifest

_LOOKS = 3
_BARS = ("open", "high", "low", "close", "volume", "spread")


@dataclass
class StoredReport:
    """What was compared: months (over all datasets), values, what differs, and what could not be judged."""

    symbol: str
    months: int = 0
    values: int = 0
    differences: list[Leak] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether everything that was compared is the same."""
        return not self.differences

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        what = f"{self.values} stored values in {self.months} months of {self.symbol}"
        if self.passed:
            return (
                f"All {what} are what would be computed now." if self.months else f"Nothing of {self.symbol} is stored."
            )
        first = self.differences[0]
        return (
            f"Of {what} some are not what would be computed now, for example {first.what} in {first.cut.kind}: "
            "materialise them again; if it stays, something depends on more than its inputs."
        )

    def add(self, compared: Comparison) -> None:
        """Count in one month."""
        self.months, self.values = self.months + 1, self.values + compared.values
        self.differences += compared.leaks


def check_stored(
    lake: Lake,
    symbol: str,
    timeframes: Sequence[Timeframe],
    horizons: Sequence[int],
    spec: FeatureSpec,
    sampled: int = 3,
    seed: int = 0,
) -> StoredReport:
    """Compare the first, the last and random months, at most `sampled` of each dataset and timeframe, as stored with
    what their inputs give. Where others write meanwhile, what is found is looked at again. Raises DataError where the
    lake has no candles."""
    timeframes, horizons = check_layout(timeframes, horizons)
    for _ in range(_LOOKS - 1):
        before = _state(lake, symbol, timeframes)
        report = _check_stored(lake, symbol, timeframes, horizons, spec, sampled, seed)
        if report.passed or before == _state(lake, symbol, timeframes):
            return report
    return _check_stored(lake, symbol, timeframes, horizons, spec, sampled, seed)


def _state(lake: Lake, symbol: str, timeframes: Sequence[Timeframe]) -> list[Manifest | None]:
    """Return the manifests of everything that is compared: they change when somebody writes."""
    keys = [bar_keys(symbol, bar) for bar in TIMEFRAMES.values()]
    own = [bar_keys(symbol, bar) for bar in timeframes]
    candles = [lake.read_manifest(CANDLES, key) for key in keys]
    return [*candles, *(lake.read_manifest(dataset, key) for dataset in (FEATURES, TARGETS) for key in own)]


def _check_stored(
    lake: Lake,
    symbol: str,
    timeframes: Sequence[Timeframe],
    horizons: tuple[int, ...],
    spec: FeatureSpec,
    sampled: int,
    seed: int,
) -> StoredReport:
    report, rng = StoredReport(symbol), np.random.default_rng(seed)
    by_code = {bar.code: load_candles(lake, symbol, bar) for bar in timeframes}
    for bar in timeframes:
        _bars(lake, symbol, bar, sampled, rng, report)
    _features(lake, by_code, spec, sampled, rng, report)
    _targets(lake, by_code[timeframes[0].code], horizons, spec, sampled, rng, report)
    return report


def _bars(
    lake: Lake, symbol: str, bar: Timeframe, sampled: int, rng: np.random.Generator, report: StoredReport
) -> None:
    """Compare months of derived bars with those that the given ones make."""
    manifest = lake.read_manifest(CANDLES, bar_keys(symbol, bar))
    if manifest is None or origin(manifest) == "given":
        return
    feed, side = timeframe(str(manifest.extra["feed"])), str(manifest.extra["side"])
    given = lake.read_manifest(CANDLES, bar_keys(symbol, feed))
    if given is None:
        raise DataError(f"{symbol} has {bar} bars made from {feed} bars, which are gone: import them again.")
    sources = month_sources(given)
    fresh = [part for part in manifest.parts if manifest.extra["sources"].get(part) == sources.get(part)]
    if len(fresh) < len(manifest.parts):
        behind = len(manifest.parts) - len(fresh)
        report.notes.append(f"{bar} bars of {symbol}: {behind} months are older than the {feed} bars")
    last = max(given.parts)
    for part in _sample(fresh, sampled, rng):
        month = np.datetime64(part.removeprefix("month="), "M")
        needed = [name for name in (f"month={month - 1}", part) if name in given.parts]
        until = None if part == last else np.datetime64(month + 1, "ns")
        made = resample(read_bars(lake, symbol, feed, side, needed), bar, until)
        made = made.take(made.known_at.astype("datetime64[M]") == month)
        found = _month(part)
        _same_bars(made, read_bars(lake, symbol, bar, side, [part]), found)
        report.add(found)


def _same_bars(made: Candles, stored: Candles, found: Comparison) -> None:
    code = made.timeframe.code
    stamps = made.known_at if len(made) else stored.known_at
    columns = [np.stack([getattr(bars, name) for name in _BARS], axis=1) for bars in (made, stored)]
    found.table(tuple(f"bars_{code} {name}" for name in _BARS), stamps, *columns)
    if len(made) == len(stored):
        found.same(f"bars_{code} ts_utc", stamps, made.ts_utc, stored.ts_utc)


def _features(
    lake: Lake,
    by_code: Mapping[str, Candles],
    spec: FeatureSpec,
    sampled: int,
    rng: np.random.Generator,
    report: StoredReport,
) -> None:
    """Compare months of feature tables with those computed from the stored bars."""
    definitions = spec.definition_hashes([bars.timeframe for bars in by_code.values()])
    releases = load_releases(lake, report.symbol)
    for code, bars in by_code.items():
        keys, around = bar_keys(report.symbol, bars.timeframe), surroundings(by_code, code, releases)
        manifest = _usable(lake, FEATURES, bars, definitions[code], report)
        if manifest is None:
            continue
        sources = {f"month={month}": source for month, source in block_sources(bars, spec, around).items()}
        fresh = [part for part, entry in manifest.parts.items() if sources.get(part) == entry.source]
        if len(fresh) < len(sources):
            behind = len(sources) - len(fresh)
            report.notes.append(f"features of {report.symbol} {code}: {behind} months are older than their bars")
        for part in _sample(fresh, sampled, rng):
            made = compute_block(bars, np.datetime64(part.removeprefix("month="), "M"), spec, around)
            stored = FeatureTable.from_arrow(lake.read(FEATURES, keys, [part]), bars.timeframe, made.definition_hash)
            found = _month(part)
            if stored.names != made.names:
                found.found(f"columns of {code}", len(stored), made.known_at[0])
            else:
                found.table(made.names, made.known_at, made.values, stored.values)
            report.add(found)


def _targets(
    lake: Lake,
    base: Candles,
    horizons: tuple[int, ...],
    spec: FeatureSpec,
    sampled: int,
    rng: np.random.Generator,
    report: StoredReport,
) -> None:
    """Compare months of targets with those computed from the stored bars."""
    manifest = _usable(lake, TARGETS, base, spec.target_hash(base.timeframe, horizons), report)
    if manifest is None:
        return
    rows = {f"month={month}": rows for month, rows in months(base)}
    if {part: entry.rows for part, entry in manifest.parts.items()} != {p: r.stop - r.start for p, r in rows.items()}:
        report.notes.append(f"targets of {report.symbol} {base.timeframe} are older than their bars")
        return
    made, keys = make_targets(base, horizons, spec.yardstick), bar_keys(report.symbol, base.timeframe)
    for part in _sample(list(rows), sampled, rng):
        stored = Targets.from_arrow(lake.read(TARGETS, keys, [part]), horizons)
        fresh, stamps, found = made.take(rows[part]), base.known_at[rows[part]], _month(part)
        for name in ("yardstick", "label_end", "mask", "target"):
            names = tuple(f"{name}_{horizon}" for horizon in horizons)
            found.table(names, stamps, getattr(fresh, name), getattr(stored, name))
        report.add(found)


def _usable(lake: Lake, dataset: str, bars: Candles, definition: str, report: StoredReport) -> Manifest | None:
    """Return the manifest of a dataset if it is of this definition; otherwise note why it is not judged."""
    manifest = lake.read_manifest(dataset, bar_keys(report.symbol, bars.timeframe))
    if manifest is None or manifest.definition != definition:
        state = "not stored yet" if manifest is None else "of another configuration"
        report.notes.append(f"{dataset} of {report.symbol} {bars.timeframe} are {state}")
        return None
    return manifest


def _sample(parts: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Return at most `count` of the months, the last and the first among them, in order."""
    ordered = sorted(parts)
    ends = ordered[-1:] + ordered[:1]
    middle = [str(part) for part in rng.permutation(ordered[1:-1])]
    return sorted({*ends[:count], *middle[: max(count - len(ends), 0)]})


def _month(part: str) -> Comparison:
    month = np.datetime64(part.removeprefix("month="), "M")
    return Comparison(Cut(np.datetime64(month + 1, "ns"), f"the stored month {month}"))
