"""`check_lake`: is the lake what its manifests say? Bars are checked whole, other tables for being there and readable;
reads everything, changes nothing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from fxgpt_core.common.errors import DataError, StoreError
from fxgpt_core.common.timeframes import TIMEFRAMES, timeframe
from fxgpt_core.market.bar_checks import Checked, check_bars, check_side
from fxgpt_core.market.bar_parts import CANDLES, ONE_SIDED, SUPERSEDED, is_month
from fxgpt_core.market.candles import SIDES
from fxgpt_core.market.lake import Lake, Manifest, is_key
from fxgpt_core.market.quarantine import QUARANTINE
from fxgpt_core.market.sides import OTHER_SIDE
from fxgpt_core.store.storage import is_leftover

_PART, _MANIFEST = "part.parquet", "manifest.json"
_BAR_KEYS = {CANDLES: ["symbol", "timeframe"], ONE_SIDED: ["symbol", "timeframe", "side"]}
_ATTEMPTS = 3
_CURES = {
    QUARANTINE: "and import the files of that pair again",
    SUPERSEDED: "(these bars were set aside, and nothing reads them)",
    "events": "and import the calendars again",
    "events_quarantine": "and import its calendar again",
}
_CURE = "then `fxgpt materialize` makes it again"
Keys = tuple[tuple[str, str], ...]


@dataclass
class LakeReport:
    """`bars`: symbol -> timeframe -> rows counted; `tables`: dataset -> parts read of all that are no bars; `problems`:
    a sentence per thing that is wrong; `notes`: a sentence per thing that harms nothing, such as what a killed writer
    left."""

    bars: dict[str, dict[str, int]] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Found:
    """What lies in the lake: dataset -> keys -> parts; documents; files that belong nowhere; leftovers of killed
    writers."""

    parts: dict[str, dict[Keys, set[str]]] = field(default_factory=lambda: defaultdict(dict))
    documents: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)


def check_lake(lake: Lake, symbol: str | None = None) -> LakeReport:
    """Check the lake, or what it holds under the name of one symbol.

    Of bars: schema, order, duplicates, prices, months, manifests, and that mid bars are what their two sides make. Of
    all other tables: that manifests and parts can be read (pages have checksums) and that parts have the rows that the
    manifest says. And that nothing lies where the lake has nothing. Raises DataError when it holds no bars to check.
    """
    found, report = _look(lake, symbol), LakeReport()
    candles = [dict(keys) for keys in found.parts.pop(CANDLES, {})]
    sides = {*found.parts.pop(ONE_SIDED, {}), *_combined(lake, candles)}
    if not candles and not sides:
        raise DataError(f"The lake {lake.root} holds no bars{f' of {symbol}' if symbol else ''}: import a file first.")
    for keys in sorted(candles, key=lambda keys: (keys["symbol"], timeframe(keys["timeframe"]))):
        checked = _steady(lake, CANDLES, keys, check_bars)
        report.bars.setdefault(keys["symbol"], {})[keys["timeframe"]] = checked.rows
        _add(report, checked)
    for side in sorted(sides):
        _add(report, _steady(lake, CANDLES, dict(side), check_side))
    for dataset, tables in sorted(found.parts.items()):
        for held in sorted(tables):
            checked = _steady(lake, dataset, dict(held), _tables_of(dataset))
            report.tables[dataset] = report.tables.get(dataset, 0) + checked.rows
            _add(report, checked)
    for name in found.documents:
        try:
            json.loads(lake.storage.read(name))
        except ValueError as error:
            where = lake.storage.where(name)
            report.problems.append(f"{where} is damaged ({error}): delete it, {_CURE}.")
    _tell_strays(lake, found, report)
    return report


def _look(lake: Lake, symbol: str | None) -> _Found:
    found = _Found()
    for name in lake.storage.names(""):
        dataset, *folders = name.split("/")
        file = folders.pop() if folders else ""
        if is_leftover(name):
            found.leftovers.append(name)
        elif symbol is not None and f"symbol={symbol}" not in folders:
            continue
        elif dataset == "documents" and file == "document.json":
            found.documents.append(name)
        elif not _belongs(dataset, folders, file):
            found.strays.append(name)
        else:
            keys: Keys = tuple((key, value) for key, _, value in (folder.partition("=") for folder in folders))
            parts = found.parts[dataset].setdefault(keys if file == _MANIFEST else keys[:-1], set())
            parts |= {folders[-1]} if file == _PART else set()
    return found


def _belongs(dataset: str, folders: list[str], file: str) -> bool:
    """Tell whether a file lies where the lake puts such a file."""
    if file not in (_PART, _MANIFEST) or not folders or not all(is_key(folder) for folder in folders):
        return False
    if dataset not in _BAR_KEYS:
        return file == _MANIFEST or len(folders) > 1
    named = dict(folder.split("=", 1) for folder in folders)
    wanted = [*_BAR_KEYS[dataset], *(["month"] if file == _PART else [])]
    ours = list(named) == wanted and len(folders) == len(wanted) and named["timeframe"] in TIMEFRAMES
    month = file == _MANIFEST or is_month(folders[-1])
    return ours and month and named.get("side", "mid") in SIDES


def _combined(lake: Lake, candles: list[dict[str, str]]) -> set[Keys]:
    """Return the keys of the sides of which bars are made, there or not."""
    out: set[Keys] = set()
    for keys in candles:
        manifest = _manifest(lake, CANDLES, keys)
        if manifest is not None and manifest.extra.get("combined"):
            out |= {(*keys.items(), ("side", side)) for side in OTHER_SIDE}
    return out


def _steady(
    lake: Lake, dataset: str, keys: dict[str, str], check: Callable[[Lake, dict[str, str]], Checked]
) -> Checked:
    """Return what a check finds while nobody writes: again where the manifest changed meanwhile."""
    above = {name: keys[name] for name in _BAR_KEYS.get(dataset, keys)}  # the manifest of sides is that of their bars
    for attempt in range(_ATTEMPTS):
        before = _manifest(lake, dataset, above)
        checked = check(lake, keys)
        if not checked.problems or attempt + 1 == _ATTEMPTS or _manifest(lake, dataset, above) == before:
            break
    return checked


def _manifest(lake: Lake, dataset: str, keys: dict[str, str]) -> Manifest | None:
    try:
        return lake.read_manifest(dataset, keys)
    except StoreError:
        return None


def _tables_of(dataset: str) -> Callable[[Lake, dict[str, str]], Checked]:
    """Return the check of tables that are no bars: are they there, whole, and as long as their manifest says?"""

    def check(lake: Lake, keys: dict[str, str]) -> Checked:
        checked = Checked(f"{dataset} {' '.join(keys.values())}")
        try:
            manifest = lake.read_manifest(dataset, keys)
        except StoreError as error:
            checked.wrong("manifest", str(error))
            return checked
        entries = {} if manifest is None else manifest.parts
        present = lake.parts(dataset, keys)
        cure = _CURES.get(dataset, _CURE)
        for part in sorted(set(entries) - set(present)):
            checked.wrong(part, f"in the manifest but not in the lake: remove the manifest too {cure}.")
        unknown = set(present) - set(entries) if entries else set()
        if unknown:
            checked.notes.append(
                f"{checked.what}: {len(unknown)} parts are not in the manifest, {min(unknown)} the first: they are "
                "being written, or their writer was killed and they are made again."
            )
        for part in present:
            checked.rows += 1  # a part here, not its rows
            table = lake.readable(dataset, keys, part)
            if table is None:
                checked.wrong(part, f"is damaged and cannot be read: remove that part {cure}.")
            elif part in entries and len(table) != entries[part].rows:
                told = f"holds {len(table)} rows, and its manifest says {entries[part].rows}"
                checked.wrong(part, f"{told}: remove that part {cure}.")
        return checked

    return check


def _add(report: LakeReport, checked: Checked) -> None:
    report.problems += checked.problems
    report.notes += checked.notes


def _tell_strays(lake: Lake, found: _Found, report: LakeReport) -> None:
    for name in found.strays:
        where = lake.storage.where(name)
        if name.endswith((f"/{_PART}", f"/{_MANIFEST}")):  # queries would take it for one of the lake's
            report.problems.append(f"{where} lies where the lake has no such file: move it elsewhere.")
        else:
            report.notes.append(f"{where} is no file of the lake's.")
    if found.leftovers:
        report.notes.append(
            f"{len(found.leftovers)} temporary files of writers that run or were killed, {found.leftovers[0]} the "
            "first: `fxgpt lake compact` removes those of the killed."
        )
