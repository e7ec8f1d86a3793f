"""From one encoding per timeframe to one context: attention across timeframes and its alternatives.

Every fusion maps tokens (rows, timeframes, channels) and a mask (rows, timeframes) to contexts (rows, context). What
is masked contributes exactly nothing, whatever its token holds; a row without any timeframe has a finite context, too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fxgpt_core.common.errors import ModelError
from fxgpt_core.models.sssd.config import EncoderConfig


class Fusion(nn.Module):
    """Interface of all fusions."""

    def __init__(self, timeframes: int, config: EncoderConfig) -> None:
        super().__init__()
        self.timeframes, self.kind, self.residual = timeframes, config.fusion, config.residual

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return contexts (rows, context) of finite `tokens` (rows, timeframes, channels) where `present` is true."""
        raise NotImplementedError

    def weights(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return how much each timeframe counted, (rows, timeframes), rows adding up to 1; for attention only.

        Raises ModelError for a fusion that does not weigh its timeframes.
        """
        raise ModelError(
            f"Fusion {self.kind!r} does not weigh timeframes: train with encoder.fusion 'attention' to read weights."
        )


class AttentionFusion(Fusion):
    """Multi-head attention over timeframes (Vaswani et al. 2017, section 3.2), asked by the mean of those present.

    Each timeframe has values of its own, and a head's weights scale them and nothing else passes by, so a weight says
    all about what its timeframe contributes to that head. With equal weights this is `MLPFusion`.
    """

    def __init__(self, timeframes: int, config: EncoderConfig) -> None:
        super().__init__(timeframes, config)
        width = config.channels
        self.heads = config.heads
        self.label = nn.Parameter(torch.randn(timeframes, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        bound = 1 / math.sqrt(width)
        self.value = nn.Parameter(torch.empty(timeframes, width, config.context).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(config.context))
        self.context = _tail(config)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """See `Fusion`."""
        rows = tokens.shape[0]  # len() would fix it at export
        shares = self._shares(tokens, present)
        values = torch.bmm(tokens.transpose(0, 1), self.value.to(tokens.dtype))  # (timeframes, rows, context)
        values = values.reshape(self.timeframes, rows, self.heads, -1).permute(1, 2, 0, 3)
        mixed = (shares[..., None] * values).sum(dim=2).reshape(rows, -1)  # (rows, context)
        mixed = mixed + self.bias
        context: Tensor = self.context(mixed)
        return context + mixed if self.residual else context

    def weights(self, tokens: Tensor, present: Tensor) -> Tensor:
        """See `Fusion`: the mean over heads; all zero where no timeframe is present."""
        return self._shares(tokens, present).mean(dim=1)

    def _shares(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return the attention (rows, heads, timeframes)."""
        rows, count, width = tokens.shape
        read = self.norm(tokens + self.label) * present[..., None]
        asked = self.query(read.sum(dim=1) / present.sum(dim=1, keepdim=True).clamp(min=1))
        query = asked.reshape(rows, self.heads, 1, -1)
        key = self.key(read).reshape(rows, count, self.heads, -1).permute(0, 2, 1, 3)
        logits = (query * key).sum(dim=-1) / math.sqrt(width // self.heads)  # (rows, heads, timeframes)
        mask = present[:, None]
        shares: Tensor = torch.softmax(logits.masked_fill(~mask, torch.finfo(logits.dtype).min), dim=-1) * mask
        return shares


class ConcatFusion(Fusion):
    """All tokens side by side, one linear map."""

    def __init__(self, timeframes: int, config: EncoderConfig) -> None:
        super().__init__(timeframes, config)
        self.context = nn.Sequential(
            nn.Linear(timeframes * config.channels, config.context), nn.LayerNorm(config.context)
        )

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """See `Fusion`."""
        context: Tensor = self.context((tokens * present[..., None]).flatten(1))
        return context


class MLPFusion(Fusion):
    """All tokens side by side, a hidden layer between."""

    def __init__(self, timeframes: int, config: EncoderConfig) -> None:
        super().__init__(timeframes, config)
        self.hidden = nn.Linear(timeframes * config.channels, config.context)
        self.context = _tail(config)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """See `Fusion`."""
        hidden = self.hidden((tokens * present[..., None]).flatten(1))
        context: Tensor = self.context(hidden)
        return context + hidden if self.residual else context


class ConvolutionFusion(Fusion):
    """A convolution along the timeframes, fastest to slowest: neighbours meet first; then the mean of those present."""

    def __init__(self, timeframes: int, config: EncoderConfig) -> None:
        super().__init__(timeframes, config)
        self.label = nn.Parameter(torch.randn(timeframes, config.channels) * 0.02)
        self.neighbours = nn.Conv1d(config.channels, config.context, kernel_size=3, padding=1)
        self.context = _tail(config)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """See `Fusion`."""
        mask = present[..., None].to(tokens.dtype)  # (rows, timeframes, 1)
        met = nn.functional.gelu(self.neighbours(((tokens + self.label) * mask).transpose(1, 2))).transpose(1, 2)
        context: Tensor = self.context((met * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1))
        return context


FUSIONS: dict[str, type[Fusion]] = {
    "attention": AttentionFusion,
    "concat": ConcatFusion,
    "mlp": MLPFusion,
    "conv1d": ConvolutionFusion,
}


def _tail(config: EncoderConfig) -> nn.Sequential:
    """Return the last layers; what they add to a residual path is not blown up to the size of one."""
    width = config.context
    norm = nn.Identity() if config.residual else nn.LayerNorm(width)
    return nn.Sequential(nn.GELU(), nn.Dropout(config.dropout), nn.Linear(width, width), norm)
