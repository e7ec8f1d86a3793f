"""Bringing a symbol's candles up to date: fetch what a provider has, derive, judge, draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.store.clock import to_datetime64
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.outputs import report_path

if TYPE_CHECKING:
    from fxgpt_core.market.history import CandlesSummary
    from fxgpt_core.market.providers.downloading import DownloadSummary
    from fxgpt_core.market.providers.provider import Provider


_DAY_MINUTES = 1440


@dataclass(frozen=True)
class Refreshed:
    """Candles as they now are, and what was fetched for them; None where bars come from files."""

    candles: CandlesSummary
    fetched: DownloadSummary | None


def refresh_candles(lineage: Lineage, months: Sequence[str], progress: Progress | None) -> Refreshed:
    """Fetch what is missing (or the named months anew), then derive every timeframe that is out of date.

    Raises BadInputError for a month that is not written YYYY-MM.
    """
    from fxgpt_core.market.history import update_candles

    wanted = [parse_month(text) for text in months]
    fetched = _fetch(lineage, wanted, progress) if lineage.asset.remote else None
    candles = update_candles(
        lineage.workspace.lake,
        lineage.symbol,
        lineage.timeframes,
        lineage.asset.candle_source,
        lineage.settings.quality,
        lineage.asset.price_side,
        months=wanted,
    )
    return Refreshed(candles, fetched)


def write_quality(lineage: Lineage) -> Path | None:
    """Write the page on the quality of the symbol's base bars; returns its path, None for bars longer than a day."""
    from fxgpt_core.reports.stored_quality import stored_quality, write_stored_quality

    workspace, base, limits = lineage.workspace, lineage.timeframes[0], lineage.settings.quality
    if base.minutes > _DAY_MINUTES:
        return None
    found = stored_quality(workspace.lake, lineage.symbol, base, limits)
    made_at = workspace.clock.now().strftime("%Y-%m-%d %H:%M UTC")
    return write_stored_quality(report_path(lineage).with_name("quality.html"), found, limits, made_at)


def parse_month(text: str) -> str:
    """Return a month written YYYY-MM as it is; raises BadInputError for anything else."""
    try:
        month = np.datetime64(text, "M")
    except ValueError:
        month = np.datetime64("NaT")
    if np.isnat(month) or str(month) != text:
        raise BadInputError(f"Month {text!r} is not written as YYYY-MM, for example 2024-03.")
    return text


def awaits_bars(lineage: Lineage) -> bool:
    """Tell whether a provider is to be asked for bars that have closed meanwhile; False for bars from files.

    A provider that cannot be asked (no key) has nothing to bring as long as there are bars to go on with.
    """
    from fxgpt_core.market.history import given_bars
    from fxgpt_core.market.providers.downloading import missing_spans

    asset, workspace = lineage.asset, lineage.workspace
    if not asset.remote:
        return False
    try:
        name = _provider(lineage).name
    except BadInputError:
        return not given_bars(workspace.lake, lineage.symbol)
    now = workspace.clock.now()
    since, bar = np.datetime64(asset.since, "ns"), lineage.timeframes[0]
    return bool(missing_spans(workspace.lake, name, lineage.symbol, bar, since, to_datetime64(now), now))


def _fetch(lineage: Lineage, months: Sequence[str], progress: Progress | None) -> DownloadSummary:
    from fxgpt_core.market.providers.downloading import download

    asset, workspace = lineage.asset, lineage.workspace
    return download(
        workspace.lake,
        _provider(lineage),
        lineage.symbol,
        lineage.timeframes[0],
        np.datetime64(asset.since, "ns"),
        to_datetime64(workspace.clock.now()),
        lineage.settings.quality,
        workspace.clock,
        progress or silent,
        months=months,
    )


def _provider(lineage: Lineage) -> Provider:
    from fxgpt_core.market.providers.registry import provider

    asset = lineage.asset
    return provider(
        asset.source,
        asset.provider,
        clock=lineage.workspace.clock,
        where=f"configs/assets/{asset.symbol}.yaml, provider",
    )
