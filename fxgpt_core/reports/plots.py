"""Plots of the reports as inline SVG; every function takes arrays and returns markup."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.market.candles import Candles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GRID, UP, DOWN, FAN = "#1c2733", "#dde3ea", "#2f7d5b", "#b3473f", "#2c5f9e"
BAD, QUIET = "#a33a06", "#8a97a5"
SERIES = ("#2c5f9e", "#c9822b", "#2f7d5b", "#8a4f9e", "#b3473f", "#4a8f9c")
_SHOWN_BARS = 72


def fan_chart(candles: Candles, forecast: Forecast, title: str, outcome: NDArray[np.float64] | None = None) -> str:
    """Draw the last bars as candles and the last forecast row as a fan over its horizons (50, 80 and 90 %).

    The fan starts at the close of the decision bar and is drawn in trading time: one unit is one base bar. `outcome`
    (horizons,) are the log returns that followed, drawn as dots; NaN where not known.
    """
    row = len(forecast) - 1
    last = int(np.searchsorted(candles.known_at, forecast.decided_at[row], side="right")) - 1
    first = max(0, last + 1 - _SHOWN_BARS)
    shown = candles.take(slice(first, last + 1))
    figure, axes = canvas(9.6, 3.8)
    draw_candles(axes, shown, np.arange(len(shown)) - len(shown) + 1)
    close = float(shown.close[-1])
    steps = draw_fan(axes, forecast, row, close, candles.timeframe.minutes)
    if outcome is not None:
        axes.plot(steps[1:], close * np.exp(outcome), "o", color=INK, markersize=4, label="happened")
    axes.axvline(0, color=GRID, linewidth=1, zorder=0)
    axes.set_xlabel(f"bars of {candles.timeframe} from the decision at {_time(forecast.decided_at[row])} UTC")
    axes.set_ylabel(candles.symbol)
    axes.legend(loc="upper left", frameon=False, fontsize=8, ncols=4)
    return svg(figure, title)


def draw_candles(axes: Axes, candles: Candles, positions: NDArray[np.int64]) -> None:
    """Draw bars as candles at the given places of the x axis: (bars,)."""
    colours = np.where(candles.close >= candles.open, UP, DOWN)
    axes.vlines(positions, candles.low, candles.high, color=colours, linewidth=0.8)
    axes.vlines(positions, candles.open, candles.close, color=colours, linewidth=3.2)


def draw_fan(axes: Axes, forecast: Forecast, row: int, close: float, minutes: int) -> NDArray[np.float64]:
    """Draw one forecast row from `close` at 0 on as a fan, one unit per bar of `minutes`; returns its steps."""
    steps = np.concatenate([[0.0], np.asarray(forecast.horizons) / minutes])
    for coverage, alpha in ((0.9, 0.15), (0.8, 0.2), (0.5, 0.3)):
        low, high = (forecast.quantile(level)[row] for level in ((1 - coverage) / 2, (1 + coverage) / 2))
        edges = [close * np.exp(np.concatenate([[0.0], side])) for side in (low, high)]
        axes.fill_between(steps, edges[0], edges[1], color=FAN, alpha=alpha, linewidth=0, label=f"{coverage:.0%}")
    median = close * np.exp(np.concatenate([[0.0], forecast.quantile(0.5)[row]]))
    axes.plot(steps, median, color=FAN, linewidth=1.4, label="median")
    return steps


def pit_histograms(values: Mapping[str, NDArray[np.float64]], horizons: Sequence[int], title: str) -> str:
    """Draw one PIT histogram a horizon; `values`: label -> (rows, horizons), NaN where the outcome is not known."""
    figure, grid = grid_of(1, len(horizons), 9.6, 2.6)
    bins = np.linspace(0, 1, 11)
    for column, (axes, horizon) in enumerate(zip(grid, horizons, strict=True)):
        for colour, (label, pit) in zip(SERIES, values.items(), strict=False):
            known = pit[np.isfinite(pit[:, column]), column]
            heights = np.histogram(known, bins, density=True)[0]
            axes.stairs(heights, bins, color=colour, linewidth=1.6, label=label)
        axes.axhline(1, color=INK, linewidth=0.8, linestyle=":")
        axes.set_ylim(bottom=0)
        axes.set_title(horizon_name(horizon), fontsize=9)
        axes.set_xlabel("PIT")
    grid[0].set_ylabel("density")
    grid[0].legend(frameon=False, fontsize=8)
    return svg(figure, title)


def coverage_chart(
    nominal: Sequence[float], measured: Mapping[str, NDArray[np.float64]], horizons: Sequence[int], title: str
) -> str:
    """Draw measured minus nominal coverage in points; `measured`: label -> (levels, horizons)."""
    figure, grid = grid_of(1, len(horizons), 9.6, 2.6)
    for column, (axes, horizon) in enumerate(zip(grid, horizons, strict=True)):
        for colour, (label, values) in zip(SERIES, measured.items(), strict=False):
            gap = (values[:, column] - np.asarray(nominal)) * 100
            axes.plot(np.asarray(nominal) * 100, gap, marker="o", markersize=3, color=colour, label=label)
        axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.set_title(horizon_name(horizon), fontsize=9)
        axes.set_xlabel("nominal coverage, %")
    grid[0].set_ylabel("measured − nominal, points")
    grid[0].legend(frameon=False, fontsize=8)
    return svg(figure, title)


@dataclass(frozen=True)
class Intervals:
    """Figures with their bounds at named places, all of equal length."""

    labels: Sequence[str]
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def interval_chart(panels: Mapping[str, Intervals], reference: float, ylabel: str, title: str) -> str:
    """Draw one panel a horizon: points with their intervals, coloured where the interval excludes `reference`."""
    figure, grid = grid_of(1, len(panels), 9.6, 2.7)
    long = max(len(label) for panel in panels.values() for label in panel.labels) > 2
    for axes, (name, panel) in zip(grid, panels.items(), strict=True):
        for x, (value, low, high) in enumerate(zip(panel.values, panel.low, panel.high, strict=True)):
            colour = FAN if low > reference else BAD if high < reference else QUIET
            axes.vlines(x, low, high, color=colour, linewidth=1.4)
            axes.plot(x, value, marker="o", markersize=3.2, color=colour)
        axes.axhline(reference, color=INK, linewidth=0.8, linestyle=":")
        axes.set_title(name, fontsize=9)
        places = range(0, len(panel.labels), 1 if long or len(panel.labels) < 9 else 4)
        axes.set_xticks(list(places), [panel.labels[i] for i in places])
        if long:
            axes.tick_params(axis="x", rotation=35, labelsize=7)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
    grid[0].set_ylabel(ylabel)
    return svg(figure, title)


def line_chart(
    series: Mapping[str, tuple[NDArray[np.generic], NDArray[np.float64]]], ylabel: str, title: str, xlabel: str = ""
) -> str:
    """Draw named lines; each is (x, y) with times or numbers on x."""
    figure, axes = canvas(9.6, 3.0)
    for colour, (label, (x, y)) in zip(SERIES * 3, series.items(), strict=False):
        axes.plot(x, y, color=colour, linewidth=1.3, label=label)
    axes.set_ylabel(ylabel)
    axes.set_xlabel(xlabel)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=8, ncols=min(len(series), 5))
    return svg(figure, title)


def bar_chart(names: Sequence[str], values: Sequence[float], limit: float | None, xlabel: str, title: str) -> str:
    """Draw horizontal bars, longest first, with an optional limit line."""
    figure, axes = canvas(9.6, 0.9 + 0.26 * len(names))
    order = np.argsort(values)
    axes.barh([names[i] for i in order], [values[i] for i in order], color=FAN, height=0.65)
    if limit is not None:
        axes.axvline(limit, color=DOWN, linewidth=1.2, linestyle="--")
    axes.set_xlabel(xlabel)
    return svg(figure, title)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of one panel, sizes in inches."""
    figure, grid = grid_of(1, 1, width, height)
    return figure, grid[0]


def grid_of(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels in the style of all reports, sizes in inches."""
    # The object interface: no pyplot, so no state of the process and no display is touched.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for one in axes:
        one.grid(color=GRID, linewidth=0.6)
        one.set_axisbelow(True)
        one.tick_params(labelsize=8, colors=INK)
        one.spines[["top", "right"]].set_visible(False)
        one.xaxis.label.set_size(8)
        one.yaxis.label.set_size(8)
    return figure, axes


def svg(figure: Figure, title: str) -> str:
    """Return the figure as inline SVG with an accessible title, free of times and random ids."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": title, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    markup = buffer.getvalue()
    start = markup.index("<svg")
    return re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", markup[start:]))


def _time(moment: np.datetime64) -> str:
    return str(np.datetime_as_string(moment, unit="m")).replace("T", " ")
