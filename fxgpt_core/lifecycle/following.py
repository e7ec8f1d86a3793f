"""`Follower`: one registered version that follows its symbol's bars and forecasts at each close."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import DataError, ModelError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.feed import Feed
from fxgpt_core.lifecycle.bundle import Bundle
from fxgpt_core.lifecycle.live import CalibratedSession
from fxgpt_core.lifecycle.online_calibration import calibrator_states, caught_up
from fxgpt_core.lifecycle.registry import ModelVersion
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.policy.live_config import LiveConfig
from fxgpt_core.store.database import Database

Times = NDArray[np.datetime64]


class LiveBars(Protocol):
    """Where the closed bars of one symbol come from: a provider through the lake, or a simulation.

    `refresh` brings what has closed until `now`; `decisions` are the closes of base bars in (`after`, `now`], all
    where `after` is None; `since` the bars of every timeframe that closed then, by code; `feed` a feed in the layout
    of a model with all history up to `until`. Raise FxgptErrors for what cannot be had; `refresh` UnfitBarsError for
    bars that nothing may be forecast from.
    """

    def refresh(self, now: np.datetime64) -> None: ...

    def decisions(self, after: np.datetime64 | None, now: np.datetime64) -> Times: ...

    def since(
        self, after: np.datetime64, now: np.datetime64, timeframes: tuple[Timeframe, ...]
    ) -> Mapping[str, Candles]: ...

    def feed(self, bundle: Bundle, until: np.datetime64) -> Feed: ...


@dataclass(frozen=True)
class Answer:
    """A forecast made live, how long it took (milliseconds, with the bar's features), and how novel its row is.

    `device`: where it was computed; `context`: what it was made from (`context_of`).
    """

    forecast: Forecast
    latency_ms: float
    novelty: float | None
    device: str
    context: Mapping[str, Any]


class Follower:
    """A session of one version, kept between bars and, where the family has a state, across restarts in `folder`."""

    def __init__(
        self, version: ModelVersion, bundle: Bundle, feed: Feed, database: Database, folder: Path | None, seed: int
    ) -> None:
        self.version, self.bundle, self._folder, self._seed = version, bundle, folder, seed
        self._states = calibrator_states(database, bundle, version.version)
        self.session = self._opened(feed)
        self._codes = tuple(bar.code for bar in feed.timeframes)

    @property
    def feed(self) -> Feed:
        return self.session.feed

    @property
    def position(self) -> np.datetime64:
        """Close of the last base bar that has gone in."""
        return np.datetime64(self.feed.dataset.known_at[-1])

    def take(self, bars: Mapping[str, Candles], until: np.datetime64) -> tuple[str, ...]:
        """Take the bars that closed up to `until` and have not gone in yet; return a sentence for each gap.

        Slower bars go first, so that the base bar that closed with them is read once. Raises BadInputError and
        DataError as `Feed.update` does.
        """
        gaps: list[str] = []
        for code in reversed(self._codes):
            if code not in bars:
                continue
            known, own = bars[code].known_at, self.feed.candles[code]
            fresh = known <= until
            if len(own):
                fresh &= known > own.known_at[-1]
            if fresh.any():
                gaps += self.session.update(bars[code].take(fresh))
        return tuple(gaps)

    def answer(
        self, bars: Mapping[str, Candles], decided_at: np.datetime64, made_at: np.datetime64, origin: str
    ) -> Answer:
        """Take the bars up to `decided_at` and forecast there; raises DataError where the bar itself is not there."""
        started = time.perf_counter()
        self.take(bars, decided_at)
        if self.position != decided_at:
            raise DataError(
                f"The {self.feed.timeframes[0]} bar of {self.feed.symbol} that closed at {decided_at}Z is not to be "
                f"had any more; the last one closed at {self.position}Z."
            )
        novelty = self.novelty()
        taken = time.perf_counter() - started
        # What the calibrator learns from earlier outcomes is no part of how long the answer takes.
        self.bundle = caught_up(self.bundle, self.feed.dataset, self._states, self._seed)
        self.session.calibrator = self.bundle.calibrator
        started = time.perf_counter()
        made = self.session.forecast(Provenance(self.version.label, made_at, origin), seed=self._seed)
        latency = (taken + time.perf_counter() - started) * 1000
        device = str(getattr(self.bundle.forecaster, "device", "cpu"))  # families of arrays know no other
        return Answer(made, latency, novelty, device, context_of(self.feed))

    def novelty(self) -> float | None:
        """Return how novel the row at `position` is, None where the model has no numbers to tell."""
        dataset = self.feed.dataset
        if self.bundle.novelty is None:
            return None
        found = self.bundle.novelty.score(dataset, np.array([len(dataset) - 1]))
        return None if found is None else float(found[0])

    def save(self) -> None:
        """Keep what a restart needs, where there is a folder."""
        if self._folder is not None:
            self.session.save(self._folder)

    def _opened(self, feed: Feed) -> CalibratedSession:
        if self._folder is not None and self._folder.is_dir() and any(self._folder.iterdir()):
            try:
                return CalibratedSession(self.bundle, feed, self._folder)
            except ModelError:  # other bars or another model: history says the same, only later
                pass
        return CalibratedSession(self.bundle, feed)


def context_of(feed: Feed) -> dict[str, Any]:
    """Return in a few numbers what a forecast at a feed's last bar is made from, as JSON-able values.

    `bars`: base bars known; `close`: of the last one; `last`: when the last bar of every timeframe became known;
    `yardstick`: by horizon (minutes as text), log-return units, None where it is not known.
    """
    dataset = feed.dataset
    sizes = zip(dataset.horizons, dataset.yardstick[-1], strict=True)
    last = {code: bars.known_at[-1] for code, bars in feed.candles.items() if len(bars)}
    return {
        "bars": len(dataset),
        "close": float(dataset.candles.close[-1]),
        "last": {code: f"{moment.astype('datetime64[s]')}Z" for code, moment in last.items()},
        "yardstick": {str(h): float(size) if np.isfinite(size) else None for h, size in sizes},
    }


def origin_of(decided_at: np.datetime64, made_at: np.datetime64, base: Timeframe, config: LiveConfig) -> str:
    """Return `live` for a forecast made within `late_bars` of open market after its decision, else `backfill`."""
    late = float(calendar.trading_minutes_between(decided_at, made_at))
    return "live" if late <= config.late_bars * base.minutes else "backfill"


def missed(
    closes: Times, logged: np.datetime64 | None, entered: np.datetime64 | None, config: LiveConfig
) -> tuple[Times, int]:
    """Return which of the base closes (increasing) a version still owes a forecast, and how many it skips.

    Owed are those after its last logged one; before its first, those since it `entered` its place, at least the newest.
    Of these the ones older than `backfill_hours` of open market before the newest are skipped.
    """
    if not len(closes):
        return closes, 0
    after = logged if logged is not None else entered
    owed = closes if after is None else closes[closes > after]
    if logged is None and (after is None or not len(owed)):
        owed = closes[-1:]
    age = calendar.trading_minutes_between(owed, closes[-1])
    kept = owed[age <= config.backfill_hours * 60]
    return kept, len(owed) - len(kept)
