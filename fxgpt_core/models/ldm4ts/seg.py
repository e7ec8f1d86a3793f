"""Segmentation (SEG): a series folded by its period into a picture, as TimesNet folds it (Wu et al. 2023, eq. 2-3).

A column is one period, time runs down within a column and from column to column to the right. The newest bar is the
last pixel; where the length is no multiple of the period, the oldest value is repeated before the first. Several
variables lie below each other in bands of equal height, each a fold of its own: the one encoding in which a variable
can still be told from its neighbours, and from which all of them can be read back.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.models.ldm4ts.resample import weights
from fxgpt_core.models.ldm4ts.vision_config import VisionConfig

SHORTEST = 4
"""Bars of the shortest period that is looked for: shorter ones are noise between neighbours."""


def periods(scaled: Tensor, config: VisionConfig) -> Tensor:
    """Return the bars per fold of each row of (rows, length, variables): (rows,) int64.

    As configured, else that of the largest power, summed over variables, among those from SHORTEST bars to half the
    window. A row's period depends on that row alone.
    """
    rows, length, _ = scaled.shape
    if config.period is not None:
        return torch.full((rows,), min(config.period, length), dtype=torch.int64, device=scaled.device)
    series = torch.diff(scaled, dim=1) if config.spectrum == "changes" else _without_trend(scaled)
    points = series.shape[1]
    power = torch.fft.rfft(series, dim=1).abs().square().sum(dim=2)  # (rows, frequencies)
    turns = torch.arange(power.shape[1], device=scaled.device)
    found = torch.round(points / turns.clamp(min=1)).long()
    sought = (turns >= 1) & (found >= SHORTEST) & (found <= length // 2)
    if not bool(sought.any()):
        return torch.full((rows,), max(length // 2, 1), dtype=torch.int64, device=scaled.device)
    return found[torch.where(sought, power, -1.0).argmax(dim=1)]


def draw(scaled: Tensor, period: Tensor, out: Tensor) -> None:
    """Write the pictures of series (rows, length, variables) folded by `period` (rows,) into `out` (rows, size, size).

    Pixels are on the scale of the values. Raises BadInputError where a band would have no row of pixels.
    """
    size, (_, length, variables) = out.shape[-1], scaled.shape
    if variables > size:
        raise BadInputError(f"A picture of {size} rows has no room for {variables} variables: raise size or use fewer.")
    for bars in torch.unique(period).tolist():  # at most as many as a window has frequencies, however many the rows
        at = torch.nonzero(period == bars).flatten()
        across = weights(-(-length // bars), size, scaled.device)
        out[at] = _bands(variables, bars, size, scaled.device) @ _fold(scaled[at], bars) @ across.T


def unfold(pictures: Tensor, period: int, length: int, variables: int) -> Tensor:
    """Return the series (rows, length, variables) that pictures (rows, size, size) folded by `period` show.

    Exact where the picture has a row for each bar of a period in each band and a column for each period; otherwise
    the least-squares series.
    """
    size, columns = pictures.shape[-1], -(-length // period)
    down = torch.linalg.pinv(_bands(variables, period, size, pictures.device).double())
    across = torch.linalg.pinv(weights(columns, size, pictures.device).double())
    folded = (down @ pictures.double() @ across.T).float()  # (rows, variables * period, columns)
    stacked = folded.reshape(len(pictures), variables, period, columns)
    series: Tensor = stacked.permute(0, 3, 2, 1).flatten(1, 2)
    return series[:, -length:]


def _fold(scaled: Tensor, period: int) -> Tensor:
    """Return (rows, variables * period, columns) of (rows, length, variables)."""
    rows, length, variables = scaled.shape
    full = torch.cat([scaled[:, :1].expand(-1, -length % period, -1), scaled], dim=1)
    return full.reshape(rows, -1, period, variables).permute(0, 3, 2, 1).flatten(1, 2)


def _bands(variables: int, period: int, size: int, device: torch.device) -> Tensor:
    """Return the matrix (size, variables * period) that lays the folds of all variables below each other."""
    made = torch.zeros(size, variables * period, device=device)
    edges = [round(band * size / variables) for band in range(variables + 1)]
    for band, (high, low) in enumerate(pairwise(edges)):
        made[high:low, band * period : (band + 1) * period] = weights(period, low - high, device)
    return made


def _without_trend(series: Tensor) -> Tensor:
    """Return (rows, length, variables) without its least-squares line."""
    time = torch.linspace(-1.0, 1.0, series.shape[1], device=series.device)[None, :, None]
    centred = series - series.mean(dim=1, keepdim=True)
    return centred - time * (centred * time).sum(dim=1, keepdim=True) / time.square().sum()
