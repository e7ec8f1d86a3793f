"""The state-space kernel: a diagonal recurrence over a stretch of bars by FFT and matrix products.

`scan` is the one entry: what replaces it (a fused kernel) has to give the same numbers, gradients included.

Two facts keep it cheap. Ā^(i w + j) = Ā^(i w) Ā^j, so a response over some bars needs tables of about 2 sqrt(bars)
powers per mode and one real matrix product. And channels never meet, so they are worked on in blocks whose tables fit
a workspace of fixed size and are made again in the backward pass: memory is O(channels * (modes + bars)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fxgpt_core.ssm.convolution import causal_convolution
from fxgpt_core.ssm.discrete import Discrete

Keep = Literal["none", "last", "all"]

WORKSPACE = 2**21
"""Complex numbers that the tables of one block of channels may hold: 16 MB in single precision."""


@torch.compiler.disable  # type: ignore[untyped-decorator]  # complex numbers and FFTs: nothing for a compiler to fuse
def scan(
    u: Tensor, discrete: Discrete, readout: Tensor, state: Tensor | None, chunk: int, keep: Keep
) -> tuple[Tensor, Tensor]:
    """Return y_k = 2 Re sum_n C_n x_k,n with x_k = Ā x_(k-1) + B̄ u_k, and the state after the last bar.

    `u` (batch, bars, channels), bars >= 1; `readout` C and `state` as real and imaginary parts (channels, pairs, 2)
    and (batch, channels, pairs, 2), None for zero; y like `u`. At most `chunk` bars go through one FFT, the state is
    passed between chunks. States that are returned, (kept, batch, channels, pairs, 2): by `keep` "none", the "last" one
    or "all" after every chunk.
    """
    batch, bars, channels = u.shape
    rows = u.permute(2, 0, 1).contiguous()  # (channels, batch, bars)
    before = None if state is None else torch.view_as_complex(state.transpose(0, 1).contiguous())
    block = _block(batch, bars, min(chunk, bars), readout.shape[1], keep != "none" or state is not None)

    def one(part: slice) -> tuple[Tensor, Tensor]:
        given = None if before is None else before[part]
        return _scan(rows[part], discrete.channels(part), readout[part], given, chunk, keep)

    parts = [slice(at, at + block) for at in range(0, channels, block)]
    if len(parts) > 1 and torch.is_grad_enabled():
        done = [checkpoint(one, part, use_reentrant=False, preserve_rng_state=False) for part in parts]
    else:
        done = [one(part) for part in parts]
    y = torch.cat([out for out, _ in done]).permute(1, 2, 0)
    states = torch.cat([kept for _, kept in done], dim=1).transpose(1, 2)
    return y, torch.view_as_real(states)


def _block(batch: int, bars: int, width: int, pairs: int, carried: bool) -> int:
    """Return how many channels fit the workspace."""
    inner = _inner(width)
    outer = -(-width // inner)
    spread = max(outer, batch * -(-bars // inner)) if carried or width < bars else outer
    return max(1, WORKSPACE // (pairs * (inner + outer + spread)))


def _inner(width: int) -> int:
    """Return the step w of the tables, a power of two near sqrt(width)."""
    return int(2 ** round(math.log2(max(width, 1)) / 2))


def _scan(
    u: Tensor, discrete: Discrete, readout: Tensor, state: Tensor | None, chunk: int, keep: Keep
) -> tuple[Tensor, Tensor]:
    """Scan one block of channels: `u`, y (channels, batch, bars), `state` complex (channels, batch, pairs).

    Kept states: complex (kept, channels, batch, pairs).
    """
    channels, batch, bars = u.shape
    tables = Tables.build(discrete, min(chunk, bars), u.dtype)
    weights, gain = 2 * torch.view_as_complex(readout)[:, None], discrete.gain(u.dtype)[:, None]
    width, count = tables.width, -(-bars // tables.width)
    chunks = torch.nn.functional.pad(u, (0, count * width - bars)).reshape(channels, batch * count, width)
    y = causal_convolution(chunks, tables.respond(weights * gain, width)[:, 0])

    arrived = None
    if count > 1:  # what each chunk but the last alone leaves behind at its end
        whole = chunks.reshape(channels, batch, count, width)[:, :, :-1].reshape(channels, -1, width)
        arrived = (tables.gather(whole) * gain).reshape(channels, batch, count - 1, -1)
    before = _passed(state, arrived, tables.power(width)) if arrived is not None else [state]
    if before[-1] is not None:
        first = before[0] if before[0] is not None else torch.zeros_like(before[-1])
        starts = torch.stack([first, *(one for one in before[1:] if one is not None)], dim=2)
        y = y + tables.respond((weights * tables.power(1))[:, :, None] * starts, width)
    y = y.reshape(channels, batch, count * width)[..., :bars]
    kept = [one for one in before[1:] if one is not None] if keep == "all" else []
    if keep != "none":
        last = bars - (count - 1) * width
        end = tables.gather(u[..., -last:]) * gain
        kept.append(end if before[-1] is None else end + before[-1] * tables.power(last))
    states = torch.stack(kept) if kept else gain.new_zeros((0, channels, batch, gain.shape[-1]))
    return y, states


def _passed(state: Tensor | None, arrived: Tensor, turn: Tensor) -> list[Tensor | None]:
    """Return the state before each chunk: `state` before the first, `arrived` (channels, batch, chunks - 1, pairs)."""
    before = [state]
    for one in arrived.unbind(dim=2):
        state = one if state is None else torch.addcmul(one, state, turn)
        before.append(state)
    return before


@dataclass(frozen=True)
class Tables:
    """Powers of Ā for chunks of up to `width` bars: `inner` Ā^0 .. Ā^(w-1), `outer` Ā^0, Ā^w, Ā^2w .. past the width.

    Both complex, (channels, powers, pairs).
    """

    width: int
    inner: Tensor
    outer: Tensor

    @classmethod
    def build(cls, discrete: Discrete, width: int, dtype: torch.dtype) -> Tables:
        """Compute both tables."""
        step = _inner(width)
        return cls(width, discrete.powers(1, step, dtype), discrete.powers(step, -(-(width + step) // step), dtype))

    def power(self, bars: int) -> Tensor:
        """Return Ā^bars, bars <= width: complex (channels, 1, pairs)."""
        step = self.inner.shape[1]
        whole, rest = self.outer[:, bars // step, None], bars % step
        return whole * self.inner[:, rest, None] if rest else whole

    def respond(self, start: Tensor, bars: int) -> Tensor:
        """Return Re sum_n start_n Ā_n^k, k = 0 .. bars - 1: (channels, .., pairs) complex -> (channels, rows, bars)."""
        channels, pairs = start.shape[0], start.shape[-1]
        start = start.reshape(channels, -1, pairs)
        rows = start.shape[1]
        count = -(-bars // self.inner.shape[1])
        spread = start[:, :, None] * self.outer[:, None, :count]  # (channels, rows, count, pairs)
        left = torch.view_as_real(spread).reshape(channels, rows * count, 2 * pairs)
        # Re(a b) is the dot product of (Re a, Im a) and (Re b, -Im b).
        right = torch.view_as_real(self.inner.conj_physical()).reshape(channels, -1, 2 * pairs)
        return torch.bmm(left, right.transpose(1, 2)).reshape(channels, rows, -1)[..., :bars]

    def gather(self, u: Tensor) -> Tensor:
        """Return sum_k Ā^(bars - 1 - k) u_k: `u` (channels, rows, bars) -> complex (channels, rows, pairs)."""
        channels, rows, bars = u.shape
        step, pairs = self.inner.shape[1:]
        count = -(-bars // step)
        cut = torch.nn.functional.pad(u, (count * step - bars, 0)).reshape(channels, rows * count, step)
        table = torch.view_as_real(self.inner.flip(1)).reshape(channels, step, 2 * pairs)
        part = torch.view_as_complex(torch.bmm(cut, table).reshape(channels, rows, count, pairs, 2))
        return (part * self.outer[:, None, :count].flip(2)).sum(dim=2)
