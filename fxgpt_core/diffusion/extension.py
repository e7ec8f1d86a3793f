"""One horizon more for a trained head, by one embedding."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from fxgpt_core.common.errors import ModelError
from fxgpt_core.diffusion.heads import Head


def extend(head: Head, like: int, at: int | None = None) -> nn.Parameter:
    """Give `head` one more horizon, before horizon `at` or the last, that starts as a copy of horizon `like`.

    Returns what to train: only this embedding is new and only it asks for gradients. What was learned for the other
    horizons is untouched: asked for without the new one (mask 0 there), they are forecast as before, however it is
    trained. Asked for together with it they are conditioned on its presence, which the head has not practised: ask for
    the new horizon in a pass of its own, or train the whole head. Raises ModelError when there is no horizon `like`.
    """
    if not 0 <= like < head.size.horizons:
        raise ModelError(f"A head of {head.size.horizons} horizons has none at position {like}: give one of those.")
    head.requires_grad_(False)
    embedding = nn.Parameter(head.embedding[like].detach().clone())
    known = list(head.embedding)
    known.insert(len(known) if at is None else at, embedding)
    head.embedding = nn.ParameterList(known)
    head.size = replace(head.size, horizons=head.size.horizons + 1)
    return embedding
