"""From continuous to discrete time: what one bar does to each mode of a diagonal state space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Discretisation = Literal["zoh", "bilinear"]

_TURN = 2 * math.pi


@dataclass(frozen=True)
class Discrete:
    """x_k = Ā x_{k-1} + B̄ u_k for every mode; all fields (channels, pairs), float64.

    `log_modulus` = log |Ā| < 0; `turns` = arg Ā in full turns, within [-1/2, 1/2]; `gain_re`, `gain_im`: B̄ for B = 1.
    Float64, because a phase of thousands of radians per bar, which large states have, keeps no digits in float32.
    """

    log_modulus: Tensor
    turns: Tensor
    gain_re: Tensor
    gain_im: Tensor

    def bar(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return Re Ā, Im Ā, Re B̄, Im B̄ in `dtype`: what the recurrence multiplies by."""
        modulus, phase = torch.exp(self.log_modulus), _TURN * self.turns
        parts = (modulus * torch.cos(phase), modulus * torch.sin(phase), self.gain_re, self.gain_im)
        re, im, gain_re, gain_im = (part.to(dtype) for part in parts)
        return re, im, gain_re, gain_im

    def powers(self, step: int, count: int, dtype: torch.dtype) -> Tensor:
        """Return Ā^0, Ā^step .. Ā^((count - 1) step): complex (channels, count, pairs) with parts in `dtype`."""
        table: Tensor = _Powers.apply(self.log_modulus, self.turns, step, count, dtype)  # type: ignore[no-untyped-call]
        return table

    def gain(self, dtype: torch.dtype) -> Tensor:
        """Return B̄ as complex (channels, pairs) with parts in `dtype`."""
        return torch.complex(self.gain_re.to(dtype), self.gain_im.to(dtype))

    def channels(self, part: slice) -> Discrete:
        """Return the channels in `part`."""
        return Discrete(self.log_modulus[part], self.turns[part], self.gain_re[part], self.gain_im[part])


class _Powers(torch.autograd.Function):
    """A table of powers by doubling: one product an entry, and one in the backward pass.

    The factors Ā^(2^k step) are squared in double precision, so an entry has seen no more than log2(count) roundings.
    """

    @staticmethod
    def forward(ctx: Any, log_modulus: Tensor, turns: Tensor, step: int, count: int, dtype: torch.dtype) -> Tensor:
        channels, pairs = turns.shape
        table = torch.empty(channels, count, pairs, dtype=dtype.to_complex(), device=turns.device)
        table[:, 0] = 1
        turned = turns * step
        factor = torch.polar(torch.exp(log_modulus * step), _TURN * (turned - torch.round(turned)))
        filled = 1
        while filled < count:
            more = min(filled, count - filled)
            torch.mul(table[:, :more], factor.to(table.dtype)[:, None], out=table[:, filled : filled + more])
            filled, factor = filled + more, factor * factor
        ctx.save_for_backward(table)
        ctx.step = step
        return table

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (table,) = ctx.saved_tensors
        channels, count, pairs = table.shape
        moved = torch.view_as_real(grad * table.conj()).reshape(channels, count, 2 * pairs)
        exponents = ctx.step * torch.arange(count, dtype=moved.dtype, device=moved.device)
        summed = torch.matmul(exponents, moved).reshape(channels, pairs, 2).double()
        return summed[..., 0], _TURN * summed[..., 1], None, None, None


def discretise(decay: Tensor, frequency: Tensor, dt: Tensor, method: Discretisation) -> Discrete:
    """Discretise A = -decay + i frequency (channels, pairs), B = 1, with steps `dt` (channels,).

    `zoh` (zero-order hold): Ā = exp(dt A), B̄ = (exp(dt A) - 1) / A; `bilinear` (Tustin): Ā = (1 + dt A / 2) /
    (1 - dt A / 2), B̄ = dt / (1 - dt A / 2) (S4D paper, section 3.1). Real arithmetic only.
    """
    real, imag, dt = -decay.double(), frequency.double(), dt.double()[:, None]
    if method == "bilinear":
        a, b = real * dt / 2, imag * dt / 2
        norm = (1 - a).square() + b.square()
        angle = torch.atan2(2 * b, 1 - a.square() - b.square())
        return Discrete(torch.log1p(4 * a / norm) / 2, angle / _TURN, dt * (1 - a) / norm, dt * b / norm)
    a, b = real * dt, imag * dt
    turns = b / _TURN
    turns = turns - torch.round(turns)
    angle = _TURN * turns
    # exp(dt A) - 1 without cancellation: expm1 of the modulus and -2 sin^2(angle / 2).
    less_re = torch.expm1(a) * torch.cos(angle) - 2 * torch.sin(angle / 2).square()
    less_im = torch.exp(a) * torch.sin(angle)
    norm = real.square() + imag.square()
    gain_re = (less_re * real + less_im * imag) / norm
    gain_im = (less_im * real - less_re * imag) / norm
    return Discrete(a, turns, gain_re, gain_im)
