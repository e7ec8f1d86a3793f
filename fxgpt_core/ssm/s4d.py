"""S4D: a diagonal state-space layer that runs as a convolution, as a chunked scan or as a recurrence bar by bar.

Source: Gu, Gupta, Goel, Ré (2022), "On the parameterization and initialization of diagonal state space models".
Per channel: x' = A x + u, y = Re(2 C x) + D u, with diagonal A, discretised with a learned step per channel.

The layer is causal and there is no bidirectional variant: an output that has seen later bars would look ahead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fxgpt_core.common.errors import ModelError
from fxgpt_core.ssm.discrete import Discrete, Discretisation, discretise
from fxgpt_core.ssm.initialisation import Initialisation, diagonal
from fxgpt_core.ssm.scan import Keep, scan

DYNAMICS = ("log_dt", "log_decay", "frequency")
"""Names of the parameters of dt and A: they want a learning rate of their own and no weight decay."""

CHUNK = 2048
"""Bars per FFT: on longer stretches passing the state costs less than a larger FFT."""


@dataclass(frozen=True)
class LayerSettings:
    """What a layer starts from: `state_size` counts real dimensions, so there are `state_size // 2` conjugate pairs.

    `steps`: range from which each channel draws its step, log-uniformly; `chunk`: bars per FFT.
    """

    state_size: int
    initialisation: Initialisation = "legs"
    discretisation: Discretisation = "zoh"
    steps: tuple[float, float] = (1e-3, 1e-1)
    chunk: int = CHUNK


class S4D(nn.Module):
    """One diagonal state-space layer over `channels` independent channels.

    Three modes give equal outputs: `forward` convolves a stretch, `advance` returns the state after it, too,
    `step` takes one bar, in real arithmetic only. All start from a given state, None being zero. A state is real:
    (batch, channels, pairs, 2), real and imaginary parts. Inside, autocast is off and numbers have the type of the
    parameters. Random starting values come from `generator`, torch's default one where None.
    """

    def __init__(self, channels: int, settings: LayerSettings, generator: torch.Generator | None = None) -> None:
        super().__init__()
        pairs = settings.state_size // 2
        low, high = (math.log(value) for value in settings.steps)
        start = diagonal(settings.initialisation, channels, pairs, generator)
        self.chunk = settings.chunk
        self.discretisation: Discretisation = settings.discretisation
        self.log_dt = nn.Parameter(torch.rand(channels, generator=generator) * (high - low) + low)
        # exp() keeps the real part negative, so every learned A is stable.
        self.log_decay = nn.Parameter(torch.log(-start.real).float())
        self.frequency = nn.Parameter(start.imag.float())
        self.readout = nn.Parameter(torch.randn(channels, pairs, 2, generator=generator) * math.sqrt(0.5))
        self.skip = nn.Parameter(torch.randn(channels, generator=generator))

    def initial_state(self, batch: int) -> Tensor:
        """Return the zero state: (batch, channels, pairs, 2)."""
        return self.readout.new_zeros((batch, *self.readout.shape))

    def discrete(self) -> Discrete:
        """Return the layer in discrete time."""
        return discretise(self.log_decay.exp(), self.frequency, self.log_dt.exp(), self.discretisation)

    def forward(self, u: Tensor, state: Tensor | None = None) -> Tensor:
        """Return outputs (batch, bars, channels) of a stretch like it."""
        return self._scan(u, state, self.chunk, "none")[0]

    def advance(self, u: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return outputs (batch, bars, channels) and the state after the last bar (batch, channels, pairs, 2)."""
        y, kept = self._scan(u, state, self.chunk, "last")
        return y, kept[-1]

    def landmarks(self, u: Tensor, every: int) -> tuple[Tensor, Tensor]:
        """Return outputs (batch, bars, channels) from the zero state, and the states after each `every` bars.

        States (count, batch, channels, pairs, 2); the last one is that after the last bar.
        """
        return self._scan(u, None, every, "all")

    def step(self, u: Tensor, state: Tensor, bar: tuple[Tensor, ...] | None = None) -> tuple[Tensor, Tensor]:
        """Advance one bar: `u` (batch, channels) -> output (batch, channels) and new state; no complex arithmetic.

        `bar`, from `bar()`, spares the discretisation where weights do not change between steps.
        """
        with torch.autocast(u.device.type, enabled=False):
            u = u.to(self.readout.dtype)
            turn_re, turn_im, gain_re, gain_im = self.bar() if bar is None else bar
            re, im = state[..., 0], state[..., 1]
            new_re = turn_re * re - turn_im * im + gain_re * u[..., None]
            new_im = turn_re * im + turn_im * re + gain_im * u[..., None]
            out = 2 * (self.readout[..., 0] * new_re - self.readout[..., 1] * new_im).sum(-1) + self.skip * u
            return out, torch.stack([new_re, new_im], dim=-1)

    def bar(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what one bar multiplies by: Re Ā, Im Ā, Re B̄, Im B̄, each (channels, pairs)."""
        return self.discrete().bar(self.readout.dtype)

    def _scan(self, u: Tensor, state: Tensor | None, chunk: int, keep: Keep) -> tuple[Tensor, Tensor]:
        channels = len(self.log_dt)
        if u.ndim != 3 or u.shape[2] != channels or not u.shape[1]:
            raise ModelError(f"S4D takes (batch, bars, {channels}) with at least one bar, not {tuple(u.shape)}.")
        with torch.autocast(u.device.type, enabled=False):
            u = u.to(self.readout.dtype)
            state = None if state is None else state.to(self.readout.dtype)
            y, kept = scan(u, self.discrete(), self.readout, state, chunk, keep)
            return y + u * self.skip, kept
