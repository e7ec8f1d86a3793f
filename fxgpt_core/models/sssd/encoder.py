"""Encoder: one causal state-space stack per timeframe, attention across timeframes, a context vector per base bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from fxgpt_core.models.sssd.config import EncoderConfig
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.ssm.s4d import LayerSettings
from fxgpt_core.ssm.stack import Stack


class Fusion(nn.Module):
    """Cross-timeframe attention and MLP: (rows, timeframes, channels) -> (rows, context).

    A timeframe that has no bar yet is masked: it is neither attended to nor read.
    """

    def __init__(self, timeframes: int, config: EncoderConfig) -> None:
        super().__init__()
        width = config.channels
        self.heads = config.heads
        self.label = nn.Parameter(torch.randn(timeframes, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.context = nn.Sequential(
            nn.Linear(timeframes * width, config.context),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.context, config.context),
            nn.LayerNorm(config.context),
        )

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """`tokens` (rows, timeframes, channels), `present` (rows, timeframes) bool; the base is always present."""
        rows, count, width = tokens.shape
        tokens = tokens + self.label
        parts = self.queries_keys_values(self.norm(tokens)).reshape(rows, count, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (rows, heads, timeframes, width / heads)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=present[:, None, None, :])
        tokens = tokens + self.output(mixed.transpose(1, 2).reshape(rows, count, width))
        context: Tensor = self.context((tokens * present[..., None]).flatten(1))
        return context


class Encoder(nn.Module):
    """Contexts for base bars, from segments (training), a whole history (forecasts) or bar by bar (live)."""

    def __init__(self, columns: Mapping[str, int], config: EncoderConfig) -> None:
        super().__init__()
        settings = LayerSettings(
            config.state,
            config.initialisation,
            config.discretisation,
            (config.dt_min, config.dt_max),
            config.chunk,
        )
        self.stacks = nn.ModuleDict(
            {
                code: Stack(count, config.channels, config.layers, settings, config.dropout)
                for code, count in columns.items()
            }
        )
        self.fusion = Fusion(len(columns), config)

    def segments(
        self,
        inputs: Inputs,
        starts: Tensor,
        length: int,
        stretches: Mapping[str, int],
        disturb: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return contexts (segments, length, context) of the segments that begin at base bars `starts` (segments,).

        Each timeframe runs once over its own stretch, `stretches[code]` own bars that end with the last one known at
        the segment's end; the bars before the segment are its burn-in. `disturb` is laid on the inputs (augmentation).
        """
        bars = starts[:, None] + torch.arange(length, device=starts.device)  # (segments, length)
        known = inputs.last_known[bars]  # (segments, length, timeframes)
        tokens = []
        for i, (code, features) in enumerate(inputs.features.items()):
            first = (known[:, -1, i] + 1 - stretches[code]).clamp(min=0)
            index = first[:, None] + torch.arange(stretches[code], device=starts.device)
            seen = features[index] if disturb is None else disturb(features[index])
            encoded = self.stacks[code](seen)
            local = (known[..., i] - first[:, None]).clamp(min=0)
            tokens.append(encoded.gather(1, local[..., None].expand(-1, -1, encoded.shape[-1])))
        joined, present = torch.stack(tokens, dim=2), known >= 0
        contexts: Tensor = self.fusion(joined.flatten(0, 1), present.flatten(0, 1))
        return contexts.reshape(*bars.shape, -1)

    @torch.no_grad()
    def history(self, inputs: Inputs, rows: Tensor, piece: int, by_recurrence: bool = False) -> Tensor:
        """Return contexts (rows, context) at base bars `rows`, each from the state carried since history began.

        `by_recurrence` steps bar by bar in real arithmetic, the way a live forecast does, instead of convolving.
        """
        known = inputs.last_known[rows]
        tokens = []
        for i, (code, features) in enumerate(inputs.features.items()):
            needed = features[: max(int(known[:, i].max()) + 1, 1)] if len(known) else features[:1]
            stack = cast(Stack, self.stacks[code])
            if not len(needed):  # a timeframe without a single bar is absent everywhere
                tokens.append(features.new_zeros((len(rows), stack.channels)))
                continue
            encoded = stack.stream(needed) if by_recurrence else stack.over_history(needed, piece)
            tokens.append(encoded[known[:, i].clamp(min=0)])
        joined, present = torch.stack(tokens, dim=1), known >= 0
        parts = [
            self.fusion(a, b) for a, b in zip(torch.split(joined, piece), torch.split(present, piece), strict=True)
        ]
        return torch.cat(parts)
