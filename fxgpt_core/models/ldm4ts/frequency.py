"""The frequency content of a window as tokens."""

from __future__ import annotations

import torch
from torch import Tensor

_FLOOR = 1e-2  # of a share of power; keeps the log of an empty band in bounds


def frequency_tokens(windows: Tensor, bands: int) -> Tensor:
    """Return the spectrum of windows (rows, length, variables) as (rows, bands, width) float32.

    Bar-to-bar changes under a Hann window, their power by frequency as a share of the mean power, in logs: zero
    everywhere for a random walk. A band holds neighbouring frequencies of all variables, low ones first; the last is
    filled up with zeros.
    """
    changes = torch.diff(windows.double(), dim=1)
    changes = changes - changes.mean(dim=1, keepdim=True)
    hann = torch.hann_window(changes.shape[1], periodic=False, dtype=torch.float64, device=windows.device)
    power = torch.fft.rfft(changes * hann[:, None], dim=1).abs().square()[:, 1:]  # (rows, frequencies, variables)
    mean = power.mean(dim=1, keepdim=True)
    share = torch.where(mean > 1e-24, power / mean.clamp(min=1e-24), 1.0)
    logs = torch.log(share + _FLOOR).float()
    missing = -logs.shape[1] % bands
    full = torch.cat([logs, logs.new_zeros(len(logs), missing, logs.shape[2])], dim=1)
    return full.reshape(len(full), bands, -1)


def token_width(length: int, variables: int, bands: int) -> int:
    """Return the width of the tokens of windows of `length` bars."""
    frequencies = (length - 1) // 2
    return -(-frequencies // bands) * variables
