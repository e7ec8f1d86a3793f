"""What can be said of a window in one sentence: facts known when the decision is made, few different ones by design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.indicators.economic_calendar import WEEK
from fxgpt_core.market.sessions import CLOSED, session_label

_RANKS = ("very low", "low", "usual", "high", "very high")
_TRENDS = ("falls steeply", "falls", "goes sideways", "rises", "rises steeply")
_TREND_EDGES = (-1.5, -0.5, 0.5, 1.5)  # of the move over the window, in deviations that the yardstick expects of it
_SOON = ((60.0, "within the hour"), (480.0, "within eight hours"), (1440.0, "within a day"))


@dataclass(frozen=True)
class Wording:
    """Sentences about the windows of one pair; `edges` part the volatilities of training rows into fifths."""

    length: int
    edges: tuple[float, ...]

    @classmethod
    def fit(cls, dataset: Dataset, rows: NDArray[np.int64], length: int) -> Wording:
        """Take the fifths from training bars `rows`."""
        level = np.log(_shortest(dataset)[rows])
        found = np.quantile(level[np.isfinite(level)], [0.2, 0.4, 0.6, 0.8])
        return cls(length, tuple(float(edge) for edge in found))

    def sentences(self, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return a sentence for each of base bars `rows`: (rows,) of str.

        Pair, timeframe, trading session, rank of the yardstick's volatility among training bars, trend over the window
        and, where the lake has an economic calendar, when the next release of high impact is due.
        """
        minute = np.timedelta64(1, "m")
        session = session_label(dataset.known_at[rows] - minute)
        rank = np.searchsorted(self.edges, np.log(_shortest(dataset)[rows]))
        trend = np.searchsorted(_TREND_EDGES, self._trend(dataset, rows))
        release = _next_release(dataset, rows)
        pair = f"{dataset.symbol[:3]}/{dataset.symbol[3:]}"
        out = np.empty(len(rows), dtype=object)
        made: dict[tuple[Any, ...], str] = {}
        for i, facts in enumerate(zip(session.tolist(), rank.tolist(), trend.tolist(), release, strict=True)):
            if facts not in made:
                where = "while the market is closed" if facts[0] == CLOSED else f"in the session of {_spoken(facts[0])}"
                made[facts] = (
                    f"{pair}, {dataset.base.code} bars, {where}: volatility is {_RANKS[facts[1]]} and the price "
                    f"{_TRENDS[facts[2]]}{facts[3]}."
                )
            out[i] = made[facts]
        return out

    def _trend(self, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        logs = np.log(dataset.candles.close)
        first = np.maximum(rows - self.length + 1, 0)
        shortest = min(dataset.horizons)
        bars = np.maximum(rows - first, 1) * dataset.base.minutes / shortest
        return np.asarray((logs[rows] - logs[first]) / (_shortest(dataset)[rows] * np.sqrt(bars)))


def _shortest(dataset: Dataset) -> NDArray[np.float64]:
    return dataset.yardstick[:, int(np.argmin(dataset.horizons))]


def _spoken(session: str) -> str:
    return session.replace("_", " ").title().replace("+", " and ")


def _next_release(dataset: Dataset, rows: NDArray[np.int64]) -> list[str]:
    """Return when the next release of high impact of either currency is due, "" where there is no calendar."""
    table = dataset.tables[dataset.base.code]
    columns = [
        i for i, name in enumerate(table.names) if name.startswith("cal_") and "_high" in name and "_next" in name
    ]
    if not columns:
        return [""] * len(rows)
    share = table.values[dataset.last_known[rows, 0]][:, columns].astype(np.float64).min(axis=1)
    minutes = np.expm1(share * np.log1p(WEEK))
    return [_due(one) if np.isfinite(one) else "" for one in minutes]


def _due(minutes: float) -> str:
    for limit, words in _SOON:
        if minutes <= limit:
            return f", with important news due {words}"
    return ", with no important news due within a day"
