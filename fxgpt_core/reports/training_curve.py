"""How a training went, as one small picture: loss and validated metric by epoch."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from fxgpt_core.reports.plots import GRID, INK, SERIES

LOSS = "train_loss"


def training_curve(fits: Mapping[str, Mapping[str, tuple[float, ...]]], metric: str = "validation_crps") -> bytes:
    """Return a PNG with two panels, training loss and `metric` by epoch, a line for each fit.

    `fits`: name of a fit -> curve name -> value of each epoch, from 1. The lowest value of the metric, where training
    stopped to learn, is marked. A curve that a fit lacks is left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 2.2), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, 2), (LOSS, metric), strict=True):
        for colour, (fit, curves) in zip(SERIES * 3, fits.items(), strict=False):
            values = np.asarray(curves.get(name, ()), dtype=np.float64)
            if not len(values):
                continue
            epochs = np.arange(1, len(values) + 1)
            axes.plot(epochs, values, color=colour, linewidth=1.1, label=fit)
            if name == metric and np.isfinite(values).any():
                best = int(np.nanargmin(values))
                axes.plot(epochs[best], values[best], "o", color=colour, markersize=4)
        axes.set_title(name.replace("_", " "), loc="left", fontsize=8, color=INK)
        axes.set_xlabel("epoch", fontsize=7)
        axes.grid(color=GRID, linewidth=0.5)
        axes.tick_params(labelsize=7, length=0)
        axes.spines[["top", "right"]].set_visible(False)
    if 1 < len(fits) <= 12:
        figure.axes[1].legend(frameon=False, fontsize=6, ncols=2)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
