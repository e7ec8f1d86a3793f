"""How a symbol's history is split, from its stored bars and targets: for the report, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fxgpt_core.evaluation.combinatorial import CombinatorialSplits, combinatorial
from fxgpt_core.evaluation.split_summary import summarise
from fxgpt_core.evaluation.splits import walk_forward
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.features.split_timeline import draw_splits
from fxgpt_core.store.documents import write_atomically

if TYPE_CHECKING:
    from fxgpt_pipeline.lineage import Lineage

_STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1080px;"
    "padding:0 1rem}figure{margin:0 0 2rem!important}table{border-collapse:collapse;font-size:.85rem;width:100%}"
    "th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #8884}"
)


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
    splits = walk_forward(data, lineage.settings.walk_forward)
    return draw_splits(splits, data.known_at, _title(lineage, splits))


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
    body = "".join(
        (
            draw_splits(folds, data.known_at, _title(lineage, folds)),
            _table(data, folds),
            f"<h2>{escape(title)}</h2>",
            groups.timeline(data.known_at, f"{lineage.symbol}, training restarts at the ticks"),
            _table(data, groups.splits),
        )
    )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{lineage.symbol}: splits</title>'
        f"<style>{_STYLE}</style><body><h1>{lineage.symbol}: how history is split</h1>{body}</body></html>"
    )
    return write_atomically(lineage.workspace.home.reports / lineage.symbol / "splits.html", page)


def _both(lineage: Lineage, data: Dataset) -> tuple[list[Split], CombinatorialSplits]:
    settings = lineage.settings
    return walk_forward(data, settings.walk_forward), combinatorial(data, settings.combinatorial)


def _title(lineage: Lineage, splits: Sequence[Split]) -> str:
    """Say what was cut by what: a history too short for months is cut by shares, and the title tells."""
    config = lineage.settings.walk_forward
    shares = splits[0].name.startswith("fold")
    months = "{} months to train, {} to test".format(*config.months)
    how = f"by share of bars, the first {config.first_train:.0%} only train" if shares else f"by months, {months}"
    short = " (too short a history for months)" if shares and config.spans == "calendar" else ""
    return f"{lineage.symbol}: {config.mode} walk-forward {how}{short}"


def _table(data: Dataset, splits: Sequence[Split]) -> str:
    """Return the spans and counts of splits as an HTML table."""
    heads = ("split", "trains", "validates", "tests", "test rows", "purged bars", "embargoed bars")
    rows = [
        (s["name"], _between(s["train"]), _between(s["validation"]), _between(s["test"]), f"{s['test_rows']:,}",
         f"{s['purged']:,}", f"{s['embargoed']:,}")
        for s in summarise(data, splits)
    ]  # fmt: skip
    lines = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    head = "".join(f"<th>{name}</th>" for name in heads)
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"
    )


def _between(span: list[str] | None) -> str:
    return "" if span is None else f"{span[0][:10]} to {span[1][:10]}"
