"""`TrainingRun`: a training as it goes on, in MLflow: its plan, every epoch's metrics, plots of test windows."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.lifecycle.registry import ModelRegistry
from fxgpt_core.reports.plots import fan_chart
from fxgpt_core.store.clock import Clock

_TAG = "training_fingerprint"


class TrainingRun:
    """Watches one training (`training.watching.Watcher`) and writes what it hears into one MLflow run.

    The run is made when there is something to write, so families that train without epochs leave none. A training
    that was killed goes on in the run it had: it is found by the fingerprint.
    """

    def __init__(self, registry: ModelRegistry, symbol: str, family: str, fingerprint: str, clock: Clock) -> None:
        self.registry, self.symbol, self.family = registry, symbol, family
        self.fingerprint, self.clock = fingerprint, clock
        self._run_id: str | None = None

    def planned(self, sentences: tuple[str, ...], values: Mapping[str, object]) -> None:
        """Write the plan as `plan.txt` and `plan.json`."""
        with self.registry.client("write to") as client:
            run_id = self._run()
            client.log_text(run_id, "\n".join(sentences) + "\n", "plan.txt")
            client.log_text(run_id, json.dumps(dict(values), indent=2, default=str), "plan.json")

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """Write an epoch's metrics; an epoch that is done again after a kill is written again, with equal values."""
        from mlflow.entities import Metric

        with self.registry.client("write to") as client:
            now = int(self.clock.now().timestamp() * 1000)
            client.log_batch(self._run(), [Metric(name, float(value), now, number) for name, value in metrics.items()])

    def forecasts(self, dataset: Dataset, forecast: Forecast) -> None:
        """Write one fan chart with its outcome per row, as `forecasts/<decision time>.svg`."""
        rows = np.searchsorted(dataset.known_at, forecast.decided_at)
        returns = dataset.returns()
        with self.registry.client("write to") as client:
            for i, row in enumerate(rows):
                moment = str(forecast.decided_at[i].astype("datetime64[m]"))
                title = f"{self.symbol} {self.family} {moment} UTC"
                chart = fan_chart(dataset.candles, forecast.take(slice(i, i + 1)), title, returns[row])
                client.log_text(self._run(), chart, f"forecasts/{moment.replace(':', '')}.svg")

    def finish(self) -> None:
        """Mark the run as finished, where there is one."""
        if self._run_id is not None:
            with self.registry.client("write to") as client:
                client.set_terminated(self._run_id)

    def _run(self) -> str:
        if self._run_id is None:
            tags = {"symbol": self.symbol, "family": self.family, _TAG: self.fingerprint}
            self._run_id = self.registry.run(self.symbol, f"{self.symbol} {self.family} training", tags, _TAG)
        return self._run_id
