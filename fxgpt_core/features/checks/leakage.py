"""`check_leakage`: does anything that was known at a moment change when the future is cut off? (SPEC 20)

The base bars are cut at many moments, and releases whose date was not public then are taken out. From what is left
everything is made again along the product's own road: slower bars, features, joins, yardstick, targets, the flat form
and its scaler. Every row known by the cut must be the same, bit for bit. Targets are also held against the prices that
they speak of, because a label that is shifted into the past changes with no cut.

Features are computed in canonical blocks of a month, so by default only the months seen by the last bars before a cut
are computed again; `exhaustive` computes all of history for every cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.alignment import flat
from fxgpt_core.features.bars import Releases
from fxgpt_core.features.checks.comparison import Comparison, Leak
from fxgpt_core.features.checks.cuts import Cut, cut_points
from fxgpt_core.features.checks.road import Known, Layout, Road
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.spec import FeatureSpec, check_layout
from fxgpt_core.features.steps import PRODUCT, Steps
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.calendar import add_trading_time
from fxgpt_core.market.candles import Candles

LEAST_BARS = 50
FLAT, SCALED = "flat ", "scaled "
"""How a column is called where its flat form, or its scaled one, is compared."""
_SEEN = 64  # base bars before a cut that are compared as a model sees them, besides the tables that they come from
_AFTER = 64  # base bars after a cut that a scaler fitted on everything would see


@dataclass(frozen=True)
class LeakageReport:
    """What was compared and what changed; no leaks mean that nothing known by a cut depended on what came after.

    `cuts`: where history was cut; `columns`: features compared; `values`: how many numbers were compared in all.
    """

    symbol: str
    cuts: tuple[Cut, ...]
    columns: int
    values: int
    leaks: tuple[Leak, ...]

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        what = f"{self.values} values at {len(self.cuts)} cuts of {self.symbol}"
        worst = self.worst
        if not worst:
            return f"None of {what} depends on what came after."
        names = ", ".join(leak.what for leak in worst[:5]) + (" and more" if len(worst) > 5 else "")
        return f"Of {what} some change when the future is cut off: {names}. For example: {worst[0].sentence}"

    @property
    def passed(self) -> bool:
        """Whether nothing leaks."""
        return not self.leaks

    @property
    def leaking(self) -> tuple[str, ...]:
        """Names of everything that leaks, sorted."""
        return tuple(sorted({leak.what for leak in self.leaks}))

    @property
    def worst(self) -> tuple[Leak, ...]:
        """For each thing that leaks the cut at which most rows changed; not what only follows from another leak.

        Where a column leaks its flat and its scaled form do too; those that leak alone come last.
        """
        by_name: dict[str, Leak] = {}
        for leak in self.leaks:
            if leak.what not in by_name or leak.rows > by_name[leak.what].rows:
                by_name[leak.what] = leak
        follows = [f"{SCALED}{name}" for name in by_name] + [f"{FLAT}{name}" for name in by_name]
        follows += [f"{SCALED}{name.removeprefix(FLAT)}" for name in by_name if name.startswith(FLAT)]
        roots = [by_name[name] for name in by_name if name not in set(follows)]
        return tuple(sorted(roots, key=lambda leak: (leak.what.startswith((FLAT, SCALED)), leak.what)))


def check_leakage(
    candles: Candles,
    timeframes: Sequence[Timeframe],
    horizons: Sequence[int],
    spec: FeatureSpec | None = None,
    cuts: int = 12,
    seed: int = 0,
    releases: Releases | None = None,
    exhaustive: bool = False,
    steps: Steps = PRODUCT,
    progress: Progress = silent,
) -> LeakageReport:
    """Compare what is made of the whole history with what is made of histories cut at `cuts` moments.

    `candles`: base bars; slower ones are made of them. `seed` chooses among cuts of a kind. `steps`: the road, faulty
    in tests. Raises BadInputError for fewer than 50 bars, and where a slower timeframe has no complete bar.
    """
    if len(candles) < LEAST_BARS or cuts < 1:
        raise BadInputError(
            f"A leakage check needs at least {LEAST_BARS} bars and one cut, {candles.symbol} has {len(candles)} and "
            f"{cuts}: import more bars."
        )
    timeframes, horizons = check_layout(timeframes, horizons)
    layout = Layout(timeframes, horizons, spec or FeatureSpec(), releases, steps)
    road = Road(candles, layout)
    everything = road.everything() if exhaustive else None
    moments = cut_points(candles, cuts, seed, _first_row(road), list(road.candles.values())[1:])
    leaks, values = _labels_against_prices(road), 0
    for index, cut in enumerate(moments):
        progress(f"leakage {candles.symbol}", index, len(moments), str(cut))
        stop = int(np.searchsorted(candles.known_at, cut.moment, side="right"))
        shorter = Road(candles.take(slice(0, stop)), layout.known(cut.moment))
        first = max(0, stop - _SEEN)
        if everything is not None:
            whole, part = everything, shorter.everything()
        else:
            whole, part = road.known(first, min(stop + _AFTER, len(candles))), shorter.known(first, stop)
        found = compare(whole, part, cut, steps)
        leaks, values = leaks + found.leaks, values + found.values
    progress(f"leakage {candles.symbol}", len(moments), len(moments))
    columns = sum(len(table.names) for table in part.tables.values())
    return LeakageReport(candles.symbol, tuple(moments), columns, values, tuple(leaks))


def compare(whole: Known, part: Known, cut: Cut, steps: Steps) -> Comparison:
    """Compare everything known by the cut, from bars to the standardised design."""
    found = Comparison(cut)
    _compare_bars(whole, part, found)
    _compare_tables(whole, part, found)
    _compare_joins(whole, part, found)
    _compare_targets(whole, part, found)
    _compare_design(whole.window, part.window, found, steps)
    return found


def _first_row(road: Road) -> int:
    """Return the first base bar at which every slower timeframe has a complete bar."""
    empty = [code for code, bars in road.candles.items() if not len(bars)]
    if empty:
        raise BadInputError(f"{road.base.symbol} has no complete bar of {', '.join(empty)}: import more bars.")
    closes = [bars.known_at[0] for bars in road.candles.values()]
    return int(np.searchsorted(road.base.known_at, max(closes)))


def _compare_bars(whole: Known, part: Known, found: Comparison) -> None:
    """Slower bars: those that are over are the same, and none is published that is not over."""
    moment = found.cut.moment
    for code in list(part.candles)[1:]:
        here, there = part.candles[code], whole.candles[code].until(moment)
        early = here.known_at > moment
        if early.any():
            found.found(f"bars_{code} (not over yet)", int(early.sum()), here.known_at[early][0])
        here = here.until(moment)
        names = ("open", "high", "low", "close", "volume", "spread")
        both = [np.stack([getattr(bars, name) for name in names], axis=1) for bars in (there, here)]
        stamps = there.known_at if len(there) else here.known_at
        found.table(tuple(f"bars_{code} {name}" for name in names), stamps, *both)
        rows = min(len(here), len(there))
        found.same(f"bars_{code} ts_utc", stamps, there.ts_utc[:rows], here.ts_utc[:rows])


def _compare_tables(whole: Known, part: Known, found: Comparison) -> None:
    """Features of every timeframe: all rows known by the cut, in the months that both sides have."""
    for code, table in part.tables.items():
        full = whole.tables[code]
        begin = max(table.ts_utc[0], full.ts_utc[0])
        before, after = (_between(side, begin, found.cut.moment) for side in (full, table))
        if before.names != after.names:
            found.found(f"columns of {code}", len(before), begin)
        elif len(before):
            found.table(before.names, before.known_at, before.values, after.values)


def _between(table: FeatureTable, first: np.datetime64, moment: np.datetime64) -> FeatureTable:
    """Return the rows from the bar that opens at `first` on that are known at `moment`."""
    start, stop = np.searchsorted(table.ts_utc, first), np.searchsorted(table.known_at, moment, side="right")
    return table.take(slice(int(start), int(stop)))


def _compare_joins(whole: Known, part: Known, found: Comparison) -> None:
    """As-of joins: every base bar sees the same slower bar, and none that closes after it."""
    stamps = part.window.candles.known_at
    for code, closes in part.joined.items():
        known_at = next(iter(part.candles.values())).known_at
        found.same(f"join_{code}", known_at, whole.joined[code][: len(closes)], closes)
        late = closes > known_at
        if late.any():
            found.found(f"join_{code} (not over yet)", int(late.sum()), known_at[late][0])
    last = np.arange(max(0, len(stamps) - _SEEN), len(stamps))
    (before, names), (seen, _) = flat(whole.window, last), flat(part.window, last)
    found.table(tuple(f"{FLAT}{name}" for name in names), stamps[last], before, seen)


def _compare_targets(whole: Known, part: Known, found: Comparison) -> None:
    """Yardstick, ends of labels, and the targets that are known by the cut: the same ones, with the same values."""
    rows = len(part.targets.yardstick)
    stamps = next(iter(part.candles.values())).known_at
    for index, horizon in enumerate(part.window.horizons):
        pairs = {
            name: [getattr(side.targets, name)[:rows, index] for side in (whole, part)]
            for name in ("yardstick", "label_end", "mask", "target")
        }
        for name in ("yardstick", "label_end"):
            found.same(f"{name}_{horizon}", stamps, *pairs[name])
        pairs["mask"][0] = pairs["mask"][0] & (pairs["label_end"][0] <= found.cut.moment)
        found.same(f"mask_{horizon}", stamps, *pairs["mask"])
        known = pairs["mask"][0] | pairs["mask"][1]
        found.same(f"target_{horizon}", stamps[known], *(values[known] for values in pairs["target"]))


def _compare_design(whole: Dataset, part: Dataset, found: Comparison, steps: Steps) -> None:
    """The standardised design: a scaler fitted on the labels known by the cut is the same whatever came later."""
    first = max(0, len(part) - _SEEN)
    here = np.arange(first, len(part))
    there = np.arange(first, min(len(part) + _AFTER, len(whole)))
    training = part.mask[here].any(axis=1)
    if not training.any():
        return
    (before, names), (seen, _) = flat(whole, there), flat(part, here)
    same_rows = np.zeros(len(there), dtype=bool)
    same_rows[: len(here)] = training
    scaled = []
    for values, rows in ((before, same_rows), (seen, training)):
        scaler = steps.scale(values, rows)
        out = np.full((int(training.sum()), len(names)), np.nan, dtype=np.float32)
        out[:, scaler.kept] = scaler.transform(values[: len(here)][training])
        scaled.append(out)
    found.table(tuple(f"{SCALED}{name}" for name in names), part.known_at[here][training], *scaled)


def _labels_against_prices(road: Road) -> list[Leak]:
    """Targets must be the return from the decision's close to the close at the label's end, however history is cut."""
    base, targets = road.base, road.targets
    found = Comparison(Cut(base.known_at[-1], "the whole history, against its prices"))
    for index, horizon in enumerate(road.layout.horizons):
        end = add_trading_time(base.known_at, horizon)
        found.same(f"label_end_{horizon}", base.known_at, end, targets.label_end[:, index])
        last = np.searchsorted(base.known_at, end, side="right") - 1
        followed = np.log(base.close[last] / base.close)
        said = targets.target[:, index] * targets.yardstick[:, index]
        wrong = targets.mask[:, index] & ~(np.abs(said - followed) <= 1e-9)
        if wrong.any():
            found.found(f"target_{horizon}", int(wrong.sum()), base.known_at[wrong][0])
    return found.leaks
