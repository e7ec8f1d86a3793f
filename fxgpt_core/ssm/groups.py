"""Optimiser groups of networks that contain state-space layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from fxgpt_core.ssm.s4d import DYNAMICS


def parameter_groups(
    module: nn.Module, rate: float | Callable[[str], float], dynamics_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return the trainable parameters as groups with `lr` and `weight_decay`, as torch optimisers take them.

    dt and A have `dynamics_rate` and no decay: a decayed A forgets its memory, a fast one leaves its starting law (Gu,
    Goel, Ré 2022, S4, appendix D; S4D paper, section 5). Vectors and scalars (biases, norms) are not decayed either;
    everything else has `rate`, a number or a function of the parameter's full name. Groups come in the order in which
    their first parameter appears, parameters in the module's order, so that optimiser states can be resumed.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.rsplit(".", 1)[-1] in DYNAMICS:
            key = (dynamics_rate, 0.0)
        else:
            key = (rate(name) if callable(rate) else rate, weight_decay if parameter.ndim >= 2 else 0.0)
        group = groups.setdefault(key, {"params": [], "lr": key[0], "weight_decay": key[1]})
        group["params"].append(parameter)
    return list(groups.values())
