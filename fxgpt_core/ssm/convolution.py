"""Causal convolution by FFT with a backward pass of its own."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@lru_cache(maxsize=1024)
def fast_size(least: int) -> int:
    """Return the smallest even number >= `least` without prime factors above 5: FFTs of such lengths are quick."""
    size = max(least + least % 2, 2)
    while not _is_smooth(size):
        size += 2
    return size


def _is_smooth(number: int) -> bool:
    for factor in (2, 3, 5):
        while number % factor == 0:
            number //= factor
    return number == 1


class _CausalConvolution(torch.autograd.Function):
    """Autograd's own backward of a real FFT pads and runs a complex one, several times the work of this."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, kernel: Tensor) -> Tensor:
        bars = u.shape[-1]
        size = fast_size(2 * bars - 1)
        signal, response = torch.fft.rfft(u, size), torch.fft.rfft(kernel, size)[:, None]
        ctx.save_for_backward(signal, response)
        ctx.size = size
        y: Tensor = torch.fft.irfft(signal * response, size)[..., :bars].contiguous()
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        signal, response = ctx.saved_tensors
        spectrum, bars = torch.fft.rfft(grad, ctx.size), grad.shape[-1]
        grad_u = grad_kernel = None
        if ctx.needs_input_grad[0]:
            grad_u = torch.fft.irfft(spectrum * response.conj(), ctx.size)[..., :bars].contiguous()
        if ctx.needs_input_grad[1]:
            both = (spectrum * signal.conj()).sum(dim=1)
            grad_kernel = torch.fft.irfft(both, ctx.size)[..., :bars].contiguous()
        return grad_u, grad_kernel


def causal_convolution(u: Tensor, kernel: Tensor) -> Tensor:
    """Return y_k = sum_(j <= k) kernel_j u_(k-j): `u`, y (channels, batch, bars), `kernel` (channels, bars)."""
    y: Tensor = _CausalConvolution.apply(u, kernel)  # type: ignore[no-untyped-call]
    return y
