"""What SSSD reads from a `Dataset`: standardised features per timeframe and the index that joins them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fxgpt_core.common.errors import DataError, ModelError
from fxgpt_core.features.coverage import log, warn
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.likeness import LikenessConfig, likeness
from fxgpt_core.features.scaler import ScalingConfig, Standardiser
from fxgpt_core.features.surprise import PREFIX, surprise_names, surprises
from fxgpt_core.models.sssd.config import InputsConfig


@dataclass(frozen=True)
class Scaling:
    """A train-only standardiser per timeframe; `names` are all columns it was given, in order, and guard later data.

    Those of the base bars end with the columns of `features.surprise` where the configuration wants them.
    """

    names: dict[str, tuple[str, ...]]
    tables: dict[str, Standardiser]

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        bars: NDArray[np.bool_],
        config: ScalingConfig | None = None,
        chosen: InputsConfig | None = None,
    ) -> Scaling:
        """Fit the `chosen` columns (None: all) on the rows of each table current at some of `bars` (bars,) bool."""
        chosen = chosen or InputsConfig(surprises=False)
        names = {code: table.names for code, table in dataset.tables.items()}
        if chosen.surprises:
            names[dataset.base.code] += surprise_names(dataset)
        out = cls(names, {})
        for column, code in enumerate(dataset.tables):
            rows = np.unique(dataset.last_known[bars, column])
            scaler = Standardiser.fit(out.values(dataset, code), rows[rows >= 0], config)
            out.tables[code] = _narrowed(scaler, chosen.keeps(names[code], base=column == 0))
        return out

    def values(self, dataset: Dataset, code: str, since: int = 0, until: int | None = None) -> NDArray[np.float32]:
        """Return bars since <= i < until (to the last where None) of one timeframe before scaling: (bars, columns)."""
        table = dataset.tables[code]
        given = table.values[since:until]
        if len(self.names[code]) == len(table.names):
            return given
        return np.concatenate([given, surprises(dataset, since, until)], axis=1)

    @property
    def columns(self) -> dict[str, int]:
        """Columns per timeframe that are used."""
        return {code: len(scaler.kept) for code, scaler in self.tables.items()}

    def apply(self, dataset: Dataset) -> dict[str, NDArray[np.float32]]:
        """Return features per timeframe (bars, kept columns), as `rows` gives them.

        Raises ModelError when the dataset's timeframes or feature names are not those of the fit.
        """
        self.check(dataset)
        return {code: self.rows(code, self.values(dataset, code)) for code in dataset.tables}

    def rows(self, code: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return bars of one timeframe (bars, kept columns): standardised, clipped, missing values at the mean (0).

        A bar of which nothing at all is known is NaN throughout, so that a model can leave it out.
        """
        scaler = self.tables[code]
        out = scaler.transform(values)
        out[~np.isfinite(values[:, scaler.kept]).any(axis=1)] = np.nan
        return out

    def check(self, dataset: Dataset) -> None:
        """Raise ModelError when the dataset's timeframes or feature names are not those of the fit."""
        if tuple(dataset.tables) != tuple(self.names):
            raise ModelError(
                f"SSSD was trained on timeframes {', '.join(self.names)}, the dataset of {dataset.symbol} has "
                f"{', '.join(dataset.tables)}: build the dataset with the model's timeframes or train again."
            )
        for code, table in dataset.tables.items():
            wanted = tuple(name for name in self.names[code] if not name.startswith(PREFIX))
            if table.names != wanted:
                raise ModelError(_difference(dataset.symbol, code, wanted, table.names))

    def notes(
        self, dataset: Dataset, train: NDArray[np.bool_], validation: NDArray[np.bool_], config: LikenessConfig
    ) -> tuple[str, ...]:
        """Return, and log as warnings, what is odd about columns and split; the masks are (bars,) bool."""
        notes: list[str] = []
        for column, (code, scaler) in enumerate(self.tables.items()):
            where = f"sssd of {dataset.symbol}, {code} columns"
            if scaler.coverage is not None:
                warn(where, scaler.coverage, self.names[code])
                notes += scaler.coverage.sentences(self.names[code])
            if column == 0:  # slower bars repeat in base bars
                used = scaler.transform(self.values(dataset, code))
                found = likeness(used[train], used[validation & ~train], config)
                if found is not None and found.alarm:
                    notes.append(found.sentence(scaler.names(self.names[code])))
                    log.warning("%s: %s", where, notes[-1])
        return tuple(notes)

    def unknown(self, dataset: Dataset, rows: NDArray[np.int64]) -> tuple[str, ...]:
        """Return columns in use without a known value at base bars `rows`: the network sees them at their mean."""
        out: list[str] = []
        for column, (code, scaler) in enumerate(self.tables.items()):
            at = np.unique(dataset.last_known[rows, column])
            at = at[at >= 0]
            first = int(at[0]) if len(at) else 0
            known = self.values(dataset, code, first, int(at[-1]) + 1 if len(at) else 0)
            out += [self.names[code][i] for i in scaler.unknown(known[at - first])]
        return tuple(out)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary that JSON can hold."""
        return {
            code: {"names": list(self.names[code]), "scaler": scaler.to_dict()} for code, scaler in self.tables.items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scaling:
        """Rebuild from `to_dict`."""
        return cls(
            {code: tuple(part["names"]) for code, part in values.items()},
            {code: Standardiser.from_dict(part["scaler"]) for code, part in values.items()},
        )


def _narrowed(scaler: Standardiser, wanted: NDArray[np.bool_]) -> Standardiser:
    """Return the standardiser with the `wanted` (columns,) of its columns only."""
    stays = wanted[scaler.kept]
    return replace(
        scaler,
        kept=scaler.kept[stays],
        mean=scaler.mean[stays],
        std=scaler.std[stays],
        dropped={column: why for column, why in scaler.dropped.items() if wanted[column]},
    )


def _difference(symbol: str, code: str, wanted: tuple[str, ...], given: tuple[str, ...]) -> str:
    missing = [name for name in wanted if name not in given][:3]
    extra = [name for name in given if name not in wanted][:3]
    detail = f"missing {missing}, unexpected {extra}" if missing or extra else "the same names in another order"
    return (
        f"SSSD's {code} features do not fit the dataset of {symbol}: {detail} (first few); "
        "build the dataset with the model's feature configuration or train again."
    )


@dataclass(frozen=True)
class Inputs:
    """One dataset on a device: `features` per timeframe (bars, columns) and `last_known` (base bars, timeframes).

    A row of `features` is finite or, where nothing is known of a bar, NaN throughout.
    """

    features: dict[str, Tensor]
    last_known: Tensor

    @classmethod
    def build(cls, dataset: Dataset, scaling: Scaling, device: torch.device | str) -> Inputs:
        """Standardise and move to `device` once."""
        if len(dataset) and (dataset.last_known[:, 0] < 0).any():
            raise DataError(f"Dataset {dataset.symbol}: a base bar has no row in its own feature table.")
        features = {code: torch.from_numpy(values).to(device) for code, values in scaling.apply(dataset).items()}
        return cls(features, torch.from_numpy(dataset.last_known).to(device))

    def begins(self, restarts: Sequence[int]) -> Tensor:
        """Return with which own bar history begins in each stretch between base bars `restarts`: (1 + restarts,
        timeframes). After a restart it is the first one that closes no earlier than it.
        """
        before = self.last_known[[restart - 1 for restart in restarts]] + 1
        return torch.cat([torch.zeros_like(self.last_known[:1]), before])

    def stretch_lengths(self, segment: int, burn_in: int) -> dict[str, int]:
        """Return how many own bars each timeframe needs for any segment: those inside it plus `burn_in` own bars.

        A slow timeframe therefore starts earlier than a fast one, at the latest at the start of history.
        """
        first = self.last_known[: len(self.last_known) - segment + 1].clamp(min=0)
        inside = (self.last_known[segment - 1 :] - first).amax(dim=0) + 1
        return {
            code: max(1, min(int(inside[i]) + burn_in, len(values)))
            for i, (code, values) in enumerate(self.features.items())
        }
