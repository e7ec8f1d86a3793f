"""S4D: a diagonal state-space layer that runs as a convolution over a stretch or as a recurrence bar by bar.

Source: Gu, Gupta, Goel, Ré (2022), "On the parameterization and initialization of diagonal state space models".
Per channel: x' = A x + u, y = Re(2 C x) + D u, with diagonal A, discretised by zero-order hold with a learned step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fxgpt_core.ssm.initialisation import Initialisation, diagonal

DYNAMICS = ("log_dt", "log_decay", "frequency")
"""Names of the parameters of dt and A: they want a learning rate of their own and no weight decay."""


class S4D(nn.Module):
    """One diagonal state-space layer over `channels` independent channels.

    `forward` maps a stretch (batch, bars, channels) and the state before it to outputs and the state after it;
    `step` does the same for one bar in real arithmetic only. The state is real: (batch, channels, pairs, 2), real and
    imaginary parts; `state_size` counts real dimensions, so there are `state_size // 2` conjugate pairs.
    A stretch is cut into chunks of `chunk` bars: inside a chunk the kernel is applied by FFT, between chunks the state
    is passed, so memory is O(channels * (state + bars)) whatever the length.
    """

    def __init__(
        self,
        channels: int,
        state_size: int,
        initialisation: Initialisation = "legs",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        chunk: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        pairs = state_size // 2
        generator = torch.Generator().manual_seed(seed)
        start = torch.from_numpy(diagonal(initialisation, channels, pairs, seed))
        spread = math.log(dt_max) - math.log(dt_min)
        self.chunk = chunk
        self.log_dt = nn.Parameter(torch.rand(channels, generator=generator) * spread + math.log(dt_min))
        # exp() keeps the real part negative, so every learned A is stable.
        self.log_decay = nn.Parameter(torch.log(-start.real).float())
        self.frequency = nn.Parameter(start.imag.float())
        self.readout = nn.Parameter(torch.randn(channels, pairs, 2, generator=generator) * math.sqrt(0.5))
        self.skip = nn.Parameter(torch.randn(channels, generator=generator))

    def initial_state(self, batch: int) -> Tensor:
        """Return the zero state: (batch, channels, pairs, 2)."""
        return self.readout.new_zeros((batch, *self.readout.shape))

    def forward(self, u: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return outputs (batch, bars, channels) and the state after the last bar (batch, channels, pairs, 2)."""
        with torch.autocast(u.device.type, enabled=False):  # FFT and complex numbers need float32
            return self._convolve(u.float(), self.initial_state(u.shape[0]) if state is None else state.float())

    def _convolve(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        batch, bars, channels = u.shape
        width = min(self.chunk, bars)
        chunks = -(-bars // width)
        log_step = self._log_step()
        exponents = torch.arange(width + 1, device=u.device)
        powers = torch.exp(log_step[..., None] * exponents)  # (channels, pairs, width + 1): A^0 .. A^width
        gain = torch.expm1(log_step) / self._a()  # zero-order hold of B = 1
        readout = torch.view_as_complex(self.readout)

        padded = nn.functional.pad(u, (0, 0, 0, chunks * width - bars)).transpose(1, 2)
        pieces = padded.reshape(batch, channels, chunks, width)
        kernel = 2 * torch.einsum("hn,hnl->hl", readout * gain, powers[..., :-1]).real  # (channels, width)
        size = 2 * width
        spectrum = torch.fft.rfft(pieces, n=size) * torch.fft.rfft(kernel, n=size)[None, :, None]
        y = torch.fft.irfft(spectrum, n=size)[..., :width]  # (batch, channels, chunks, width)

        # What each chunk alone adds to the state at its end: sum_j A^(width-1-j) gain u_j.
        arrivals = torch.einsum("bhcl,hnl->cbhn", pieces.to(powers.dtype), powers[..., :-1].flip(-1) * gain[..., None])
        carry = torch.view_as_complex(state.contiguous())
        before = []
        for arrival in arrivals[:-1]:
            before.append(carry)
            carry = carry * powers[..., -1] + arrival
        before.append(carry)
        if chunks > 1 or bool(state.any()):
            carried = torch.stack(before, dim=2) * readout[:, None]  # (batch, channels, chunks, pairs)
            y = y + 2 * torch.einsum("bhcn,hnl->bhcl", carried, powers[..., 1:]).real
        last = bars - (chunks - 1) * width  # the last chunk may be padded: stop where the bars stop
        tail = powers[..., :last].flip(-1) * gain[..., None]
        carry = carry * powers[..., last] + torch.einsum("bhl,hnl->bhn", pieces[:, :, -1, :last].to(tail.dtype), tail)
        y = y.reshape(batch, channels, chunks * width)[..., :bars].transpose(1, 2) + u * self.skip
        return y, torch.view_as_real(carry)

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance one bar: `u` (batch, channels) -> output (batch, channels) and new state; no complex arithmetic."""
        dt, decay = self.log_dt.exp()[:, None], -self.log_decay.exp()
        size, angle = torch.exp(decay * dt), self.frequency * dt
        turn_re, turn_im = size * torch.cos(angle), size * torch.sin(angle)  # exp(dt A)
        norm = decay.square() + self.frequency.square()
        # exp(dt A) - 1 without cancellation: expm1 of the modulus and -2 sin^2(angle / 2).
        less_re = torch.expm1(decay * dt) * torch.cos(angle) - 2 * torch.sin(angle / 2).square()
        gain_re = (less_re * decay + turn_im * self.frequency) / norm  # (exp(dt A) - 1) / A
        gain_im = (turn_im * decay - less_re * self.frequency) / norm
        re, im = state[..., 0], state[..., 1]
        new_re = turn_re * re - turn_im * im + gain_re * u[..., None]
        new_im = turn_re * im + turn_im * re + gain_im * u[..., None]
        out = 2 * (self.readout[..., 0] * new_re - self.readout[..., 1] * new_im).sum(-1) + self.skip * u
        return out, torch.stack([new_re, new_im], dim=-1)

    def _a(self) -> Tensor:
        return torch.complex(-self.log_decay.exp(), self.frequency)

    def _log_step(self) -> Tensor:
        return self._a() * self.log_dt.exp()[:, None]
