"""What the forecasts of each walk-forward fold are made from, as one hash a fold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.features.dataset import Dataset, Split


def last_bar(split: Split) -> int:
    """Return how many base bars a fold looks at: all up to the last one that it tests."""
    return int(np.flatnonzero(split.test)[-1]) + 1


def fold_fingerprints(dataset: Dataset, splits: Sequence[Split], recipe: str) -> dict[str, str]:
    """Return for each split, by name, a hash of `recipe` and of everything that `dataset.head(last_bar(split))` holds.

    A fold is fitted and forecast on that head alone, so bars that come later cannot change it, and any change in what
    it holds (bars, features, yardstick, labels, definitions) or in which labels train changes its hash. `recipe` stands
    for all that is no data: family, configuration, seed, code. Test rows are expected to follow each other.
    """
    prefixes = _Prefixes(dataset)
    found = {}
    for split in sorted(splits, key=last_bar):
        bars = last_bar(split)
        head = dataset.head(bars)
        own = split.head(bars)
        labels = [head.targets, head.mask, own.train, own.validation, own.test]
        found[split.name] = stable_hash(
            {
                "recipe": recipe,
                "dataset": [dataset.symbol, dataset.candles.side, dataset.definition_hash, list(dataset.horizons)],
                "columns": {code: list(table.names) for code, table in dataset.tables.items()},
                "bars": bars,
                "prefixes": prefixes.until(bars),
                "labels": [_digest(values) for values in labels],
                "trained_until": str(split.trained_until),
                "restarts": list(own.restarts),
            }
        )
    return {split.name: found[split.name] for split in splits}


class _Prefixes:
    """Hashes of the first rows of every array; asked for in growing order, each row is read once."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, bars = dataset, dataset.candles
        self.arrays: dict[str, NDArray[Any]] = {
            "ts_utc": bars.ts_utc, "open": bars.open, "high": bars.high, "low": bars.low, "close": bars.close,
            "volume": bars.volume, "spread": bars.spread, "yardstick": dataset.yardstick,
            "label_end": dataset.label_end, "last_known": dataset.last_known,
        }  # fmt: skip
        for code, table in dataset.tables.items():
            self.arrays |= {f"{code} known_at": table.known_at, f"{code} values": table.values}
        self.hashes = {name: hashlib.sha256() for name in self.arrays}
        self.done = dict.fromkeys(self.arrays, 0)

    def until(self, bars: int) -> dict[str, str]:
        """Return the hash of what each array holds at base bar `bars` − 1: tables end with their last known row."""
        codes = list(self.dataset.tables)
        for name, values in self.arrays.items():
            code = name.split(" ")[0] if " " in name else None
            stop = bars if code is None else int(self.dataset.last_known[bars - 1, codes.index(code)]) + 1
            if stop > self.done[name]:
                self.hashes[name].update(_bytes(values[self.done[name] : stop]))
                self.done[name] = stop
        return {name: f"{self.done[name]}:{running.hexdigest()}" for name, running in self.hashes.items()}


def _bytes(values: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(values).view(np.uint8).data


def _digest(values: NDArray[Any]) -> str:
    return hashlib.sha256(_bytes(values)).hexdigest()
