"""The page of a symbol's splits: each kind drawn and listed; opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fxgpt_core.reports.pages import page_environment


@dataclass(frozen=True)
class DrawnSplits:
    """One kind of splits: its title, their drawing (an HTML fragment), and what `split_summary.summarise` says."""

    title: str
    drawing: str
    rows: Sequence[Mapping[str, Any]]


def render_splits(symbol: str, kinds: Sequence[DrawnSplits]) -> str:
    """Return the page as one HTML text without any outside reference."""
    return page_environment().get_template("splits.html").render(symbol=symbol, kinds=kinds)
