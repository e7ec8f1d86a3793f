"""`DriftReference`: the training span as drift is judged against it, with thresholds from its own windows.

Why not a p-value: rows of market data depend on each other, so a KS test that assumes independence fires in half of all
calm weeks. Here the training span's own windows, one a day, are compared with the rest of the span, and the alarm
threshold is a quantile of what they give.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError
from fxgpt_core.lifecycle.drift.columns import DriftTable, online_names
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.online import ONLINE, OnlinePart
from fxgpt_core.lifecycle.drift.parts import KsPart, LevelPart, MmdPart, Part, facts_of, judged_columns, part_from
from fxgpt_core.lifecycle.drift.volatility import VolatilityPart
from fxgpt_core.lifecycle.drift.windows import training_windows, weeks_of

FEATURES, LEVELS, PREDICTIONS, RESIDUALS, PIT = "features", "levels", "predictions", "residuals", "pit"
VOLATILITY = "volatility"
_KINDS: Mapping[str, type[Part]] = {
    FEATURES: KsPart,
    LEVELS: LevelPart,
    PREDICTIONS: MmdPart,
    RESIDUALS: MmdPart,
    PIT: KsPart,
    VOLATILITY: VolatilityPart,
}
_SHARES: Mapping[str, float] = {VOLATILITY: 8.0, FEATURES: 3.0, LEVELS: 3.0, **dict.fromkeys(ONLINE, 0.25)}
"""Shares of the false alarms, 1 where not named: more for what finds most, less where tails are heavier than fitted."""
_ARRAYS, _JSON = "reference.safetensors", "reference.json"
FILES = (_ARRAYS, _JSON)
"""What a stored reference consists of, in the order of writing: the last one holds the checksum of the first."""


@dataclass(frozen=True)
class DriftReference:
    """What a window is compared with: the training span (`start`, `end`] by parts, `features` among them.

    `online`: what the online statistics stand on, by name. `silence`: longest time (trading hours) without a bar that
    moved, None where not known. `model`: the version whose span it is, "" before there is one. `notes`: what is not
    judged and why, and where the predictions come from.
    """

    symbol: str
    start: np.datetime64
    end: np.datetime64
    parts: Mapping[str, Part]
    model: str = ""
    notes: tuple[str, ...] = field(default=())
    online: Mapping[str, OnlinePart] = field(default_factory=dict)
    silence: float | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of what the online statistics stand on."""
        sha = hashlib.sha256()
        for name, part in sorted(self.online.items()):
            sha.update(json.dumps([name, part.facts()], sort_keys=True).encode())
            for array in part.arrays().values():
                sha.update(np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()[:16]

    @property
    def features(self) -> KsPart:
        """The part that every reference has."""
        part = self.parts[FEATURES]
        if not isinstance(part, KsPart):
            raise DataError(
                f"Drift reference of {self.symbol}: its features are no columns to compare; build it again."
            )
        return part

    def save(self, folder: Path) -> None:
        """Write `reference.safetensors`, then `reference.json` with its checksum, into `folder`."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        arrays = {
            f"{name}.{key}": np.ascontiguousarray(array)
            for name, part in (*self.parts.items(), *self.online.items())
            for key, array in part.arrays().items()
        }
        save_file(arrays, folder / _ARRAYS)
        facts = {
            "symbol": self.symbol,
            "model": self.model,
            "start": str(self.start),
            "end": str(self.end),
            "notes": list(self.notes),
            "parts": {name: facts_of(part) for name, part in self.parts.items()},
            "online": {name: part.facts() for name, part in self.online.items()},
            "silence": self.silence,
            "sha256": _checksum(folder / _ARRAYS),
        }
        (folder / _JSON).write_text(json.dumps(facts, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> DriftReference:
        """Read what `save` wrote; raises DataError when there is nothing, or not what was written."""
        from safetensors.numpy import load_file

        if not (folder / _JSON).is_file():
            raise DataError(f"No drift reference in {folder}: build it from the training span first.")
        try:
            facts: dict[str, Any] = json.loads((folder / _JSON).read_text(encoding="utf-8"))
            if _checksum(folder / _ARRAYS) != facts["sha256"]:
                raise ValueError(f"{_ARRAYS} differs from its checksum")
            arrays: dict[str, NDArray[Any]] = load_file(folder / _ARRAYS)
            parts = {name: part_from(values, _own(arrays, name)) for name, values in facts["parts"].items()}
            online = {name: OnlinePart.read(values, _own(arrays, name)) for name, values in facts["online"].items()}
            start, end = (np.datetime64(facts[key], "ns") for key in ("start", "end"))
            return cls(
                facts["symbol"], start, end, parts, facts["model"], tuple(facts["notes"]), online, facts["silence"]
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"The drift reference in {folder} is damaged ({error}): build it again.") from error


def build_reference(
    table: DriftTable,
    start: np.datetime64,
    end: np.datetime64,
    config: DriftConfig,
    seed: int,
    said: Mapping[str, DriftTable] | None = None,
    model: str = "",
    notes: tuple[str, ...] = (),
    window: int = 0,
    silence: float | None = None,
    levels: bool = False,
) -> DriftReference:
    """Return the reference of what was known in (start, end].

    `table`: features. `said`: further tables by part (`predictions`, `residuals`, `pit`, `volatility`), judged too
    where they cover `min_windows` windows of the span. `window`: bars that the online statistics look at, 0 for none of
    them. `levels`: how far off features are is judged, too. Parts and online statistics share the false alarms by
    `_SHARES`. `silence` as in `DriftReference`.
    Raises DataError when the span holds fewer than `min_windows` windows of features.
    """
    rng = np.random.default_rng(seed)
    spans = {FEATURES: table.between(start, end)}
    weeks = _weeks(spans[FEATURES], config)
    if weeks < config.min_windows:
        raise DataError(
            f"The drift reference of {table.symbol} from {start} to {end} holds {weeks} windows of "
            f"{config.window_days} days, {config.min_windows} are needed: train on a longer span."
        )
    if levels:
        spans[LEVELS] = spans[FEATURES]
    said_notes = list(notes)
    for name, other in (said or {}).items():
        own = other.between(start, end)
        covered = weeks_of(training_windows(own.known_at, config), config)
        if covered >= config.min_windows:
            spans[name] = own
        else:
            said_notes.append(f"{name} not judged: {covered} weeks of them, {config.min_windows} are needed")
    watched = ONLINE if window else ()
    whole = sum(_SHARES.get(name, 1.0) for name in (*spans, *watched))
    rate = config.monthly_false_alarms / whole
    parts = {name: _KINDS[name].build(span, config, rate * _SHARES.get(name, 1.0), rng) for name, span in spans.items()}
    stream = spans[FEATURES].select(online_names(table, config))
    online = {kind: OnlinePart.build(kind, stream, window, config, rate, rng) for kind in watched}
    return DriftReference(table.symbol, start, end, parts, model, tuple(said_notes), online, silence)


def _weeks(span: DriftTable, config: DriftConfig) -> int:
    """Return the windows of a span's judged features, from where all of them are known."""
    whole = np.isfinite(span.select(judged_columns(span)).values).all(axis=1)
    first = int(np.argmax(whole)) if whole.any() else len(span)
    return weeks_of(training_windows(span.known_at[first:], config), config)


def _own(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
