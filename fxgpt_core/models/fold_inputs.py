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
    prints = HeadPrints(dataset, recipe)
    found = {split.name: prints.of(split, last_bar(split)) for split in sorted(splits, key=last_bar)}
    return {split.name: found[split.name] for split in splits}


class HeadPrints:
    """Hashes of what heads of a dataset hold; each bar is read once, so ask for heads of growing length."""

    def __init__(self, dataset: Dataset, recipe: str) -> None:
        self._dataset, self._recipe, self._prefixes = dataset, recipe, _Prefixes(dataset)

    def of(self, split: Split, bars: int) -> str:
        """Return the hash of the recipe, of `dataset.head(bars)` and of which of its labels the split uses."""
        head, own = self._dataset.head(bars), split.head(bars)
        labels = [head.targets, head.mask, own.train, own.validation, own.test]
        return stable_hash(
            {
                "recipe": self._recipe,
                "dataset": [head.symbol, head.candles.side, head.definition_hash, list(head.horizons)],
                "columns": {code: list(table.names) for code, table in head.tables.items()},
                "bars": bars,
                "prefixes": self._prefixes.until(bars),
                "labels": [_digest(values) for values in labels],
                "trained_until": str(split.trained_until),
                "restarts": list(own.restarts),
            }
        )


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
