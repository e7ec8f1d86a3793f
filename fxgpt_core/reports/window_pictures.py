"""What an image forecaster looks at: a window of candles, its pictures, and what its autoencoder keeps of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.market.candles import Candles
from fxgpt_core.reports.plots import INK, draw_candles, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDE = 2.4  # inches of a picture
_NAMES = {"seg": "segmentation", "gaf": "Gramian angular field", "rp": "recurrence plot"}
_KEPT = "after the autoencoder"


def window_pictures(
    candles: Candles,
    names: Sequence[str],
    pictures: NDArray[np.float32],
    title: str,
    kept: NDArray[np.float32] | None = None,
) -> str:
    """Draw the candles of one window and beside them its pictures (channels, size, size) in -1..1, as inline SVG.

    `names` of the first channels, of seg, gaf and rp; others are drawn under their own name. `kept`: the same pictures
    after encoding and decoding, drawn below.
    """
    from matplotlib.figure import Figure

    shown = [pictures] if kept is None else [pictures, kept]
    figure = Figure(figsize=(_SIDE * (len(names) + 1.2), _SIDE * len(shown) + 0.3), layout="constrained")
    grid = figure.add_gridspec(len(shown), len(names) + 1, width_ratios=[1.2, *[1.0] * len(names)])
    axes = figure.add_subplot(grid[0, 0])
    draw_candles(axes, candles, np.arange(len(candles)) - len(candles) + 1)
    axes.set_title(f"{candles.symbol} {candles.timeframe}, {len(candles)} bars", fontsize=8, color=INK)
    axes.tick_params(labelsize=7, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    for row, images in enumerate(shown):
        for column, name in enumerate(names):
            label = _NAMES.get(name, name) if row == 0 else _KEPT
            _picture(figure.add_subplot(grid[row, column + 1]), images[column], label)
    return svg(figure, title)


def _picture(axes: Axes, image: NDArray[np.float32], label: str) -> None:
    axes.imshow(image, cmap="RdBu_r", vmin=-1.0, vmax=1.0, interpolation="nearest")
    axes.set_title(label, fontsize=8, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("time →", fontsize=7, color=INK)
