"""The encoder bar by bar: state in, context and state out, in real arithmetic only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from fxgpt_core.common.errors import ModelError
from fxgpt_core.models.sssd.encoder import Encoder, usable
from fxgpt_core.models.sssd.encoder_state import EncoderState
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.ssm.stack import Bars, Stack


class Stepper(nn.Module):
    """One step of a trained encoder, its layers discretised once; weights changed later do not reach it.

    `step` is for Python, `forward` the same on tensors alone, for export. A bar without any known value is a row of
    NaN. Raises ModelError for an encoder that is in training mode: dropout would act on live forecasts.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        if encoder.training:
            raise ModelError("The encoder is in training mode: call eval() on the network before streaming with it.")
        self.encoder = encoder
        self.codes = tuple(encoder.stacks)
        self.layers = len(self._stack(self.codes[0]).blocks)
        with torch.no_grad():
            for i, code in enumerate(self.codes):
                for j, parts in enumerate(self._stack(code).bars()):
                    for k, part in enumerate(parts):
                        self.register_buffer(f"bar_{i}_{j}_{k}", part.clone(), persistent=False)

    def forward(
        self, features: tuple[Tensor, ...], arrived: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return context (streams, context) and the new state.

        `features`: one (streams, columns) a timeframe, in order; `arrived` (streams, timeframes) bool: where false, no
        bar has come and the row is ignored; `state` as by `EncoderState.flat`.
        """
        tokens, present, *layers = state
        new_tokens, new_present, after = [], [], []
        for i in range(len(self.codes)):
            before = layers[i * self.layers : (i + 1) * self.layers]
            mask, known = arrived[:, i], usable(features[i])
            encoded, states = self._advanced(i, features[i], before)
            new_tokens.append(torch.where(mask[:, None], encoded, tokens[:, i]))
            new_present.append((mask & known) | (~mask & present[:, i]))  # ONNX runtimes have no where of booleans
            after += [torch.where(mask[:, None, None, None], a, b) for a, b in zip(states, before, strict=True)]
        tokens, present = torch.stack(new_tokens, dim=1), torch.stack(new_present, dim=1)
        return self.encoder.fusion(tokens, present), (tokens, present, *after)

    @torch.no_grad()
    def step(
        self, bars: Mapping[str, Tensor], state: EncoderState, arrived: Tensor | None = None
    ) -> tuple[Tensor, EncoderState]:
        """Return context (streams, context) and the state after `bars`, features (streams, columns) by timeframe.

        A timeframe that is not in `bars` has no new bar and costs nothing; where only some streams have one, `arrived`
        (streams, timeframes) bool says which. Raises ModelError for an unknown timeframe.
        """
        unknown = [code for code in bars if code not in self.codes]
        if unknown:
            raise ModelError(f"The encoder reads {', '.join(self.codes)}, not {', '.join(unknown)}.")
        tokens, present, layers = state.tokens.clone(), state.present.clone(), dict(state.layers)
        for i, code in enumerate(self.codes):
            if code not in bars:
                continue
            encoded, states = self._advanced(i, bars[code], state.layers[code])
            known = usable(bars[code])
            if arrived is None:
                tokens[:, i], present[:, i], layers[code] = encoded, known, states
                continue
            mask = arrived[:, i]
            tokens[:, i] = torch.where(mask[:, None], encoded, tokens[:, i])
            present[:, i] = torch.where(mask, known, present[:, i])
            both = zip(states, state.layers[code], strict=True)
            layers[code] = [torch.where(mask[:, None, None, None], a, b) for a, b in both]
        after = EncoderState(layers, tokens, present)
        return self.encoder.fusion(tokens, present), after

    @torch.no_grad()
    def follow(self, inputs: Inputs, state: EncoderState, since: int, until: int) -> tuple[Tensor, EncoderState]:
        """Return contexts (bars, context) of base bars since <= i < until, and the state after them, for one stream.

        `state` is the one after base bar `since` - 1. Every timeframe's bars go in when they become known, in order.
        """
        contexts = []
        for row in range(since, until):
            known = inputs.last_known[row].tolist()
            before = inputs.last_known[row - 1].tolist() if row else [-1] * len(known)
            for i, code in enumerate(self.codes):  # more than one new bar where the base has a gap
                for at in range(before[i] + 1, known[i]):
                    _, state = self.step({code: inputs.features[code][at : at + 1]}, state)
            ends = zip(self.codes, known, before, strict=True)
            new = {code: inputs.features[code][at : at + 1] for code, at, old in ends if at > old}
            context, state = self.step(new, state)
            contexts.append(context)
        return torch.cat(contexts) if contexts else state.tokens.new_zeros((0, self.encoder.width)), state

    def _stack(self, code: str) -> Stack:
        return cast(Stack, self.encoder.stacks[code])

    def _advanced(self, i: int, features: Tensor, before: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        names = [[f"bar_{i}_{j}_{k}" for k in range(4)] for j in range(self.layers)]
        bars: Bars = [tuple(cast(Tensor, getattr(self, name)) for name in row) for row in names]
        return self._stack(self.codes[i]).step(torch.nan_to_num(features), before, bars)
