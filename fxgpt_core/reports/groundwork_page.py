"""The page of a family's groundwork: what the model looks at, what is kept of it, how it was trained; opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fxgpt_core.models.forecaster import FitReport
from fxgpt_core.models.groundwork import Shown
from fxgpt_core.reports.pages import page_environment
from fxgpt_core.reports.plots import line_chart
from fxgpt_core.reports.window_pictures import window_pictures


@dataclass(frozen=True)
class GroundworkPage:
    """Everything the page shows; `shown`: windows to look at, times in UTC."""

    symbol: str
    family: str
    label: str
    made_at: str
    version: str
    trained_until: str
    fit: FitReport
    shown: Sequence[Shown]


def render_groundwork(page: GroundworkPage) -> str:
    """Return the page as one HTML text without any outside reference or script."""
    windows = [(_ended(one), _drawn(one, f"{page.symbol}, window {i}")) for i, one in enumerate(page.shown, start=1)]
    return (
        page_environment().get_template("groundwork.html").render(page=page, windows=windows, curves=_curves(page.fit))
    )


def _ended(shown: Shown) -> str:
    return str(shown.candles.known_at[-1].astype("datetime64[m]")).replace("T", " ")


def _drawn(shown: Shown, title: str) -> str:
    return window_pictures(shown.candles, shown.names, shown.pictures, title, shown.kept)


def _curves(fit: FitReport) -> str:
    series = {
        name.replace("_", " "): (np.arange(1, len(values) + 1), np.asarray(values))
        for name, values in fit.curves.items()
        if name.endswith(("loss", "error"))
    }
    return line_chart(series, "per pixel", "Training", "epoch") if series else ""
