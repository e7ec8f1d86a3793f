"""How a symbol's history is split, from its stored bars and targets: for the report, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fxgpt_core.evaluation.combinatorial import CombinatorialSplits, combinatorial
from fxgpt_core.evaluation.split_summary import summarise
from fxgpt_core.evaluation.splits import walk_forward
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.features.split_timeline import draw_splits
from fxgpt_core.reports.splits_page import DrawnSplits, render_splits
from fxgpt_core.store.documents import write_atomically

if TYPE_CHECKING:
    from fxgpt_pipeline.lineage import Lineage


def labels_of(lineage: Lineage) -> Dataset:
    """Return the symbol's bars and labels without features, all that a split asks for; a fraction of the reading.

    Raises DataError when candles or targets are not materialised.
    """
    from fxgpt_core.features.stored import read_targets

    base = lineage.candles()
    targets = read_targets(lineage.workspace.lake, base, lineage.horizons, lineage.spec)
    return Dataset(
        symbol=lineage.symbol,
        candles=base,
        timeframes=(),
        horizons=lineage.horizons,
        tables={},
        last_known=np.zeros((len(base), 0), dtype=np.int64),
        yardstick=targets.yardstick,
        targets=targets.target,
        label_end=targets.label_end,
        mask=targets.mask,
        definition_hash="",
    )


def walk_forward_timeline(lineage: Lineage, dataset: Dataset | None = None) -> str:
    """Return the drawing of the configured walk-forward splits: an HTML fragment for a page, without scripts."""
    data = labels_of(lineage) if dataset is None else dataset
    return _timeline(lineage, data, walk_forward(data, lineage.settings.walk_forward))


def split_document(lineage: Lineage) -> dict[str, Any]:
    """Return the configured walk-forward and combinatorial splits as JSON-able values."""
    data = labels_of(lineage)
    folds, groups = _both(lineage, data)
    return {
        "symbol": lineage.symbol,
        "walk_forward": summarise(data, folds),
        "combinatorial": {"splits": summarise(data, groups.splits), "paths": groups.paths.tolist()},
    }


def write_split_page(lineage: Lineage) -> Path:
    """Write `splits.html` beside the symbol's report, both kinds of splits drawn and listed; returns its path."""
    data = labels_of(lineage)
    folds, groups = _both(lineage, data)
    config = lineage.settings.combinatorial
    title = (
        f"Combinatorial purged cross-validation: {config.tested} of {config.groups} groups tested, "
        f"{len(groups.splits)} splits, {len(groups.paths)} paths"
    )
    page = render_splits(
        lineage.symbol,
        (
            DrawnSplits("Walk-forward", _timeline(lineage, data, folds), summarise(data, folds)),
            DrawnSplits(
                title,
                groups.timeline(data.known_at, f"{lineage.symbol}, training restarts at the ticks"),
                summarise(data, groups.splits),
            ),
        ),
    )
    return write_atomically(lineage.workspace.home.reports / lineage.symbol / "splits.html", page)


def _both(lineage: Lineage, data: Dataset) -> tuple[list[Split], CombinatorialSplits]:
    settings = lineage.settings
    return walk_forward(data, settings.walk_forward), combinatorial(data, settings.combinatorial)


def _timeline(lineage: Lineage, data: Dataset, splits: Sequence[Split]) -> str:
    return draw_splits(splits, data.known_at, _title(lineage, splits))


def _title(lineage: Lineage, splits: Sequence[Split]) -> str:
    """Say what was cut by what: a history too short for months is cut by shares, and the title tells."""
    config = lineage.settings.walk_forward
    shares = splits[0].name.startswith("fold")
    months = "{} months to train, {} to test".format(*config.months)
    how = f"by share of bars, the first {config.first_train:.0%} only train" if shares else f"by months, {months}"
    short = " (too short a history for months)" if shares and config.spans == "calendar" else ""
    return f"{lineage.symbol}: {config.mode} walk-forward {how}{short}"
