"""What an adaptive calibrator carries beyond its fit: where its learning began, and forecasts still without outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.features.outcomes import Outcomes

_TIMES = ("decided_at", "made_at", "trained_until")


@dataclass(frozen=True)
class Start:
    """The calibrator before anything was learnt since it was fitted: its `version` and outcomes over all horizons."""

    version: str
    outcomes: int

    def after(self, outcomes: int) -> str:
        """Return the version that has learnt from so many outcomes: `dtaci-cqr-…+12`."""
        return self.version if outcomes == self.outcomes else f"{self.version}+{outcomes - self.outcomes}"


def open_rows(forecast: Forecast, outcomes: Outcomes) -> Forecast | None:
    """Return the last rows of a raw forecast, from the first whose outcome may still become known; None without one."""
    known = np.isfinite(outcomes.aligned(forecast.decided_at, forecast.horizons).returns)
    last = np.where(known.any(axis=0), len(known) - 1 - known[::-1].argmax(axis=0), -1)  # (horizons,)
    first = int(last.min()) + 1
    return forecast.take(slice(first, None)) if first < len(forecast) else None


def rows_to_dict(forecast: Forecast) -> dict[str, Any]:
    """Return a forecast as JSON-able columns of `Forecast.to_frame`."""
    frame = forecast.to_frame()
    for name in _TIMES:
        frame[name] = frame[name].map(lambda moment: moment.isoformat())
    return {str(name): values.tolist() for name, values in frame.items()}


def rows_from_dict(values: Mapping[str, Any]) -> Forecast:
    """Rebuild from `rows_to_dict`."""
    frame = pd.DataFrame(dict(values))
    for name in _TIMES:
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return Forecast.from_frame(frame)
