"""Encoder: one causal state-space stack per timeframe, a fusion across timeframes, a context vector per base bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from fxgpt_core.models.sssd.config import EncoderConfig
from fxgpt_core.models.sssd.encoder_state import EncoderState
from fxgpt_core.models.sssd.fusion import FUSIONS, Fusion
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.ssm.s4d import LayerSettings
from fxgpt_core.ssm.stack import Stack


def usable(features: Tensor) -> Tensor:
    """Return which rows of `features` (..., columns) hold a bar: a bar without any known value is NaN throughout."""
    if not features.shape[-1]:
        return torch.zeros(features.shape[:-1], dtype=torch.bool, device=features.device)
    return ~torch.isnan(features[..., 0])


@dataclass(frozen=True)
class Carried:
    """States of each timeframe's layers before its bars `marks` (count,): (count, channels, pairs, 2) each.

    Marks increase and are at most `every` bars apart.
    """

    every: int
    marks: dict[str, Tensor]
    states: dict[str, list[Tensor]]


class Encoder(nn.Module):
    """Contexts for base bars, from segments (training), a whole history (forecasts) or bar by bar (`streaming`).

    A base bar sees, of each timeframe, the encoding of the last bar known then. A timeframe without one, or whose last
    bar has no known value, is masked.
    """

    def __init__(self, columns: Mapping[str, int], config: EncoderConfig) -> None:
        super().__init__()
        self.width = config.context
        settings = LayerSettings(
            config.state,
            config.initialisation,
            config.discretisation,
            (config.dt_min, config.dt_max),
            config.chunk,
        )
        self.stacks = nn.ModuleDict(
            {
                code: Stack(
                    count, config.channels, config.layers, settings, config.dropout, normalised=not config.residual
                )
                for code, count in columns.items()
            }
        )
        self.fusion: Fusion = FUSIONS[config.fusion](len(columns), config)

    def segments(
        self,
        inputs: Inputs,
        starts: Tensor,
        length: int,
        stretches: Mapping[str, int],
        disturb: Callable[[Tensor], Tensor] | None = None,
        carried: Carried | None = None,
        begins: Tensor | None = None,
    ) -> Tensor:
        """Return contexts (segments, length, context) of the segments that begin at base bars `starts` (segments,).

        Each timeframe runs once over its own stretch, `stretches[code]` own bars that end with the last one known at
        the segment's end; the bars before the segment are its burn-in. `disturb` is laid on the inputs (augmentation).
        With `carried` a stretch does not begin from nothing but from the state carried up to its first bar, and begins
        up to `carried.every` - 1 bars earlier, where one is at hand. `begins` (segments, timeframes) are the own bars
        with which history begins for each segment, 0 where None: nothing before them is seen.
        """
        bars = starts[:, None] + torch.arange(length, device=starts.device)  # (segments, length)
        known = inputs.last_known[bars]  # (segments, length, timeframes)
        begins = torch.zeros_like(known[:, 0]) if begins is None else begins
        tokens = []
        for i, (code, features) in enumerate(inputs.features.items()):
            if not len(features):  # a timeframe without a single bar is absent everywhere
                tokens.append(features.new_zeros((*bars.shape, cast(Stack, self.stacks[code]).channels)))
                continue
            first, count = torch.maximum(known[:, -1, i] + 1 - stretches[code], begins[:, i]), stretches[code]
            first = first.clamp(max=len(features) - 1)
            states = None
            if carried is not None:
                mark = torch.searchsorted(carried.marks[code], first, right=True) - 1
                count = count + carried.every - 1
                first, states = carried.marks[code][mark], [layer[mark] for layer in carried.states[code]]
            # What lies beyond the last bar known is read by nobody: encodings do not see later bars.
            index = (first[:, None] + torch.arange(count, device=starts.device)).clamp(max=len(features) - 1)
            seen = features[index] if disturb is None else disturb(features[index])
            encoded = self.stacks[code](torch.nan_to_num(seen), states)
            local = (known[..., i] - first[:, None]).clamp(min=0)
            tokens.append(encoded.gather(1, local[..., None].expand(-1, -1, encoded.shape[-1])))
        joined, present = torch.stack(tokens, dim=2), _present(inputs, known) & (known >= begins[:, None])
        contexts: Tensor = self.fusion(joined.flatten(0, 1), present.flatten(0, 1))
        return contexts.reshape(*bars.shape, -1)

    @torch.no_grad()
    def carry(self, inputs: Inputs, every: int, begins: Tensor | None = None) -> Carried:
        """Return the states of all stacks along the whole history, without dropout, for `segments`.

        `begins` (times, timeframes): own bars with which history begins anew, from nothing. States hold for the weights
        of this moment; while training goes on they age, so a trainer renews them.
        """
        training = self.training
        self.eval()
        marks: dict[str, Tensor] = {}
        states: dict[str, list[Tensor]] = {}
        for i, (code, features) in enumerate(inputs.features.items()):
            if not len(features):
                continue
            edges = {0, len(features)} | (set() if begins is None else set(begins[:, i].tolist()))
            rooms = [(a, b) for a, b in pairwise(sorted(edges)) if a < len(features)]
            stack, seen = cast(Stack, self.stacks[code]), torch.nan_to_num(features)
            marks[code] = torch.cat([torch.arange(a, b, every, device=seen.device) for a, b in rooms])
            parts = [stack.landmarks(seen[a:b], every) for a, b in rooms]
            states[code] = [torch.cat(layer) for layer in zip(*parts, strict=True)]
        self.train(training)
        return Carried(every, marks, states)

    @torch.no_grad()
    def history(self, inputs: Inputs, rows: Tensor, piece: int, by_recurrence: bool = False) -> Tensor:
        """Return contexts (rows, context) at base bars `rows`, each from the state carried since history began.

        `by_recurrence` steps bar by bar in real arithmetic, the way a live forecast does, instead of convolving.
        """
        joined, present = self._tokens(inputs, rows, piece, by_recurrence)
        pieces = zip(torch.split(joined, piece), torch.split(present, piece), strict=True)
        parts = [self.fusion(tokens, mask) for tokens, mask in pieces]
        return torch.cat(parts)

    @torch.no_grad()
    def weights(self, inputs: Inputs, rows: Tensor, piece: int) -> Tensor:
        """Return how much each timeframe counted at base bars `rows`: (rows, timeframes) in [0, 1].

        Rows add up to 1 (to 0 where no timeframe is present). Raises ModelError for a fusion other than attention.
        """
        return self.fusion.weights(*self._tokens(inputs, rows, piece, by_recurrence=False))

    def initial_state(self, streams: int = 1) -> EncoderState:
        """Return the state of `streams` histories before their first bar."""
        layers = {code: cast(Stack, stack).initial_states(streams) for code, stack in self.stacks.items()}
        some = next(iter(layers.values()))[0]
        shape = (streams, len(layers))
        tokens = some.new_zeros((*shape, some.shape[1]))
        return EncoderState(layers, tokens, torch.zeros(shape, dtype=torch.bool, device=some.device))

    @torch.no_grad()
    def state_after(self, inputs: Inputs, row: int, piece: int) -> EncoderState:
        """Return the state of one stream after base bar `row`, by the dense pass over all history, `piece` bars a time.

        It is what `Stepper` reaches by taking those bars one by one, but for rounding.
        """
        state = self.initial_state()
        known = inputs.last_known[row]
        for i, (code, features) in enumerate(inputs.features.items()):
            seen = torch.nan_to_num(features[: int(known[i]) + 1])
            states = state.layers[code]
            for part in torch.split(seen, piece) if len(seen) else ():
                encoded, states = cast(Stack, self.stacks[code]).advance(part[None], states)
                state.tokens[:, i] = encoded[:, -1]
            state.layers[code] = states
        state.present.copy_(_present(inputs, known[None]))
        return state

    def _tokens(self, inputs: Inputs, rows: Tensor, piece: int, by_recurrence: bool) -> tuple[Tensor, Tensor]:
        """Return tokens (rows, timeframes, channels) and which of them count (rows, timeframes)."""
        known = inputs.last_known[rows]
        tokens = []
        for i, (code, features) in enumerate(inputs.features.items()):
            stack = cast(Stack, self.stacks[code])
            needed = torch.nan_to_num(features[: int(known[:, i].max()) + 1 if len(known) else 0])
            if not len(needed):
                tokens.append(features.new_zeros((len(rows), stack.channels)))
                continue
            encoded = stack.stream(needed) if by_recurrence else stack.over_history(needed, piece)
            tokens.append(encoded[known[:, i].clamp(min=0)])
        return torch.stack(tokens, dim=1), _present(inputs, known)


def _present(inputs: Inputs, known: Tensor) -> Tensor:
    """Return which timeframes count where the last known bars are `known` (..., timeframes): bool of that shape."""
    masks = []
    for i, features in enumerate(inputs.features.values()):
        last = known[..., i]
        if not len(features):
            masks.append(torch.zeros_like(last, dtype=torch.bool))
            continue
        masks.append((last >= 0) & usable(features)[last.clamp(min=0)])
    return torch.stack(masks, dim=-1)
