"""`YardstickWalk`: the walk whose volatility is a yardstick of its own, not that of the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.features.running_targets import RunningTargets
from fxgpt_core.features.spec import YardstickConfig
from fxgpt_core.features.targets import make_labels
from fxgpt_core.features.yardstick import Yardstick
from fxgpt_core.market.candles import Candles
from fxgpt_core.models.baselines.walk import Floats, Walk
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.session import BulkSession, Session, chosen, newest, select


class YardstickWalk(Walk):
    """A baseline that learns its volatility from all bars before each month; `config` says how."""

    def __init__(self, family: str, config: YardstickConfig) -> None:
        super().__init__(family, self._path)
        self.config = config

    def _path(self, dataset: Dataset) -> Floats:
        return Yardstick(self.config).forecast(dataset.candles, make_labels(dataset.candles, dataset.horizons))

    def open(self, feed: Feed, snapshot: Path | None = None) -> Session:
        """Follow the market from a pass over history on; a snapshot holds nothing."""
        return YardstickSession(self, feed)


class YardstickSession(BulkSession):
    """Carries the volatility from bar to bar: a pass over all history at each of them takes longer than a network."""

    def __init__(self, walk: YardstickWalk, feed: Feed) -> None:
        super().__init__(walk, feed)
        self._walk, self._running = walk, RunningTargets(feed.horizons, walk.config)
        self._running.update(feed.dataset.candles)

    def update(self, candles: Candles) -> tuple[str, ...]:
        """See `Session.update`."""
        gaps = super().update(candles)
        self._running.update(self.feed.dataset.candles)
        return gaps

    def forecast(self, provenance: Provenance, horizons: Sequence[int] | None = None, seed: int = 0) -> Forecast:
        """See `Session.forecast`."""
        dataset = self.feed.dataset
        row = np.array([newest(dataset)])
        path = self._running.update(dataset.candles).yardstick
        made = self._walk.along(path, dataset, row, provenance)
        return made if horizons is None else select(made, chosen(self.feed.horizons, horizons))
