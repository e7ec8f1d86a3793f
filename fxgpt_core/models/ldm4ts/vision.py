"""`encode`: windows of a series as pictures, batched on their device, each row and variable scaled by itself.

Time runs along the axes of every picture: down and to the right in the segmentation, along both axes in the Gramian
angular field and the recurrence plot. Nothing is computed over rows, so a row's picture does not depend on the batch
that it travels in.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice

import torch
from torch import Tensor

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.models.ldm4ts import gaf, rp, seg
from fxgpt_core.models.ldm4ts.resample import unit, weights
from fxgpt_core.models.ldm4ts.vision_config import VisionConfig

COLOURS = 3
"""Channels of a picture, as published image autoencoders read them."""


def encode(windows: Tensor, config: VisionConfig) -> Tensor:
    """Return the pictures (rows, 3, size, size), float32 in -1..1, of windows (rows, length, variables), oldest first.

    Values may be of any unit and level; float64 where a level is large beside what moves (prices). No gradient passes:
    windows are data. Raises BadInputError for another shape, a window of less than four moments, or values that are
    not finite.
    """
    _check(windows)
    return _drawn(unit(windows)[0], resampled, config, None)


def draw(scaled: Tensor, config: VisionConfig, period: Tensor | None = None) -> Tensor:
    """Return the pictures (rows, 3, size, size), float32 in -1..1, of series (rows, length, variables) in 0..1 whose
    size is to show: nothing is stretched to its own extremes. Otherwise as `encode`.

    `period`: the bars per fold of each row (rows,) int64; None: as `encode` chooses them.
    """
    _check(scaled)
    return _drawn(scaled, _at, config, period)


def encode_bytes(windows: Tensor, config: VisionConfig) -> Tensor:
    """Return `encode` as 8-bit pictures (rows, 3, size, size) uint8."""
    return to_bytes(encode(windows, config))


def to_bytes(pictures: Tensor) -> Tensor:
    """Return pictures in -1..1 as uint8, a quarter of the memory; values beyond are cut."""
    return pictures.mul(127.5).add_(128.0).clamp_(0.0, 255.0).to(torch.uint8)


def from_bytes(pictures: Tensor) -> Tensor:
    """Return uint8 pictures as float32 in -1..1, off by at most 1/255."""
    return pictures.float().div_(127.5).sub_(1.0)


def resampled(scaled: Tensor, size: int) -> Tensor:
    """Return series (rows, length, variables) at `size` moments, each variable spanning 0..1."""
    if scaled.shape[1] == size:
        return scaled
    return unit(_at(scaled, size))[0]


def _at(scaled: Tensor, size: int) -> Tensor:
    return weights(scaled.shape[1], size, scaled.device) @ scaled


@torch.no_grad()
def _drawn(
    scaled: Tensor, sampled: Callable[[Tensor, int], Tensor], config: VisionConfig, period: Tensor | None
) -> Tensor:
    out = torch.empty(len(scaled), COLOURS, config.size, config.size, device=scaled.device)
    with torch.autocast(scaled.device.type, enabled=False):  # products in half precision would blur the pictures
        series = sampled(scaled, config.size)
        for channel, name in enumerate(islice(cycle(config.channels), COLOURS)):
            if channel >= len(config.channels):
                out[:, channel] = out[:, channel - len(config.channels)]
            elif name == "seg":
                folds = seg.periods(scaled, config) if period is None else period
                seg.draw(2.0 * scaled - 1.0, folds, out[:, channel])
            elif name == "gaf":
                gaf.draw(series, config.gaf, config.gaf_range == "positive", out[:, channel])
            else:
                rp.draw(series, config.rp_kernel, config.rp_scale, out[:, channel])
    return out


def _check(windows: Tensor) -> None:
    if windows.ndim != 3 or windows.shape[1] < seg.SHORTEST or not windows.shape[2] or not windows.is_floating_point():
        raise BadInputError(
            f"Windows have shape {tuple(windows.shape)} and type {windows.dtype}: expected floating point "
            f"(rows, length, variables) with a length of at least {seg.SHORTEST}."
        )
    finite = torch.isfinite(windows).flatten(1).all(dim=1)
    if not bool(finite.all()):
        bad = torch.nonzero(~finite).flatten()
        raise BadInputError(
            f"{len(bad)} of {len(windows)} windows, the first {int(bad[0])}, hold values that are not finite: leave "
            "those rows out, or columns that the venue does not give."
        )


__all__ = ["COLOURS", "VisionConfig", "draw", "encode", "encode_bytes", "from_bytes", "resampled", "to_bytes"]
