"""What a streaming encoder remembers between bars, as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fxgpt_core.common.errors import ModelError


@dataclass(frozen=True)
class EncoderState:
    """State of `streams` independent histories (symbols) after their last bar.

    `layers`: per timeframe one tensor a layer, (streams, channels, pairs, 2); `tokens` (streams, timeframes, channels):
    the encoding of each timeframe's last bar; `present` (streams, timeframes) bool: whether there is one that counts.
    Which bars have gone in is not part of it: whoever stores a state stores their times beside it.
    """

    layers: dict[str, list[Tensor]]
    tokens: Tensor
    present: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Return everything as contiguous tensors on the CPU by name, as safetensors files hold them."""
        named = {f"{code}.{i}": state for code, states in self.layers.items() for i, state in enumerate(states)}
        named |= {"tokens": self.tokens, "present": self.present}
        return {name: value.detach().cpu().contiguous().clone() for name, value in named.items()}

    def restored(self, tensors: Mapping[str, Tensor]) -> EncoderState:
        """Return the state that `tensors()` gave, in this state's types and on its devices.

        Raises ModelError when names or shapes are not those of this state, which therefore has to come from the same
        network (`Encoder.initial_state`), or when a value is not finite.
        """
        like = self.tensors()
        if set(tensors) != set(like):
            odd = sorted(set(tensors) ^ set(like))
            raise ModelError(f"The stored encoder state does not fit this network: {', '.join(odd[:4])} on one side.")
        for name, value in tensors.items():
            if value.shape != like[name].shape:
                raise ModelError(
                    f"The stored encoder state does not fit this network: {name} is {tuple(value.shape)}, not "
                    f"{tuple(like[name].shape)}; stream the history again."
                )
            if not bool(torch.isfinite(value).all()):
                raise ModelError(f"The stored encoder state is damaged: {name} is not finite; stream again.")
        return EncoderState(
            {c: [tensors[f"{c}.{i}"].to(old).clone() for i, old in enumerate(s)] for c, s in self.layers.items()},
            tensors["tokens"].to(self.tokens).clone(),
            tensors["present"].to(self.present).clone(),
        )

    def flat(self) -> tuple[Tensor, ...]:
        """Return tokens, present and the layers of each timeframe in turn."""
        return (self.tokens, self.present, *(state for states in self.layers.values() for state in states))

    def unflat(self, values: tuple[Tensor, ...]) -> EncoderState:
        """Return a state of this one's make-up from what `flat` gave."""
        tokens, present, *rest = values
        parts = iter(rest)
        return EncoderState({code: [next(parts) for _ in s] for code, s in self.layers.items()}, tokens, present)
