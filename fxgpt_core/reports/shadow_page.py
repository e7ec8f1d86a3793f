"""The page on a shadow: what it showed beside the champion, and how the evidence ran; opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fxgpt_core.reports.pages import page_environment
from fxgpt_core.reports.plots import line_chart

_NAMES = {"superior": "superior", "inferior": "worse", "tolerable": "not worse by the margin"}


def render_shadow(symbol: str, what: str, reasons: Sequence[str], evidence: Mapping[str, Any]) -> str:
    """Return the page as one HTML text; `evidence` as in a decision about a shadow, with its `limits`."""
    running: Mapping[str, Sequence[float]] = evidence["running"]
    drawings = []
    if len(running.get("gain", ())) >= 2:
        count = np.arange(1, len(running["gain"]) + 1)
        values = {label: (count, np.log10(np.maximum(running[name], 1e-6))) for name, label in _NAMES.items()}
        drawings.append(line_chart(values, "log10 of the e-value", "E-values after each block", "block"))
        gain = np.asarray(running["gain"])
        drawings.append(
            line_chart({"CRPS gain": (count, gain)}, "units of the yardstick", "Gain of each block", "block")
        )
    page = page_environment().get_template("shadow.html")
    return page.render(
        symbol=symbol, what=what, reasons=reasons, e=evidence, limits=evidence["limits"], drawings=drawings
    )
