"""`Watcher`: what the pipeline may listen to while a model trains, so that training itself knows no tracker or plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fxgpt_core.common.forecast import Forecast
    from fxgpt_core.features.dataset import Dataset


class Watcher(Protocol):
    """Called in the process that called `fit`, never in a spawned one.

    `planned` gets the plan's sentences and its JSON before the start; `epoch` the number of the epoch (from 1) and its
    metrics by name; `forecasts` the finished model's forecasts of a handful of test windows with the data they are of.
    """

    def planned(self, sentences: tuple[str, ...], values: Mapping[str, object]) -> None: ...

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None: ...

    def forecasts(self, dataset: Dataset, forecast: Forecast) -> None: ...


class Unwatched:
    """Listens to nothing."""

    def planned(self, sentences: tuple[str, ...], values: Mapping[str, object]) -> None:
        """Ignore the plan."""

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """Ignore an epoch."""

    def forecasts(self, dataset: Dataset, forecast: Forecast) -> None:
        """Ignore forecasts."""


unwatched = Unwatched()
