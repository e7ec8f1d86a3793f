"""How old a pair's last bar is, in hours in which the market was open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fxgpt_core.market import calendar
from fxgpt_core.store.clock import to_datetime64
from fxgpt_pipeline.lineage import Lineage


@dataclass(frozen=True)
class Freshness:
    """A verdict: `trading_hours` of open market since `last_close` (UTC), and a sentence about it."""

    symbol: str
    last_close: np.datetime64
    trading_hours: float
    passed: bool
    sentence: str


def judge_freshness(lineage: Lineage) -> Freshness:
    """Judge the last base bar by the limits of the symbol; bars from files are judged only where settings ask for it.

    Raises DataError when there are no candles.
    """
    from fxgpt_core.market.history import last_close
    from fxgpt_core.market.providers.registry import lag_hours

    last = last_close(lineage.workspace.lake, lineage.symbol, lineage.timeframes[0])
    now = to_datetime64(lineage.workspace.clock.now())
    age = float(calendar.trading_minutes_between(last, now)) / 60
    limits, asset = lineage.settings.freshness, lineage.asset
    judged = asset.remote or limits.files
    lag = lag_hours(asset.source, asset.provider) if asset.remote else 0.0
    late = f" after the {lag:g} that {asset.source} takes" if lag else ""
    against = f"limit {limits.max_trading_hours:g}{late}" if judged else f"not judged, source {asset.source}"
    return Freshness(
        lineage.symbol,
        last,
        age,
        not judged or age <= limits.max_trading_hours + lag,
        f"The last bar closed {age:.1f} hours of open market ago ({against}).",
    )
