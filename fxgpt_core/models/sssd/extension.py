"""One more horizon for a trained SSSD, without training it again (SPEC 3, 4)."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import nn

from fxgpt_core.common.errors import ModelError
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.models.adjustment import Adjustment, label_overlap
from fxgpt_core.models.evidence import Judged, trust
from fxgpt_core.models.evidence import Rows as Column
from fxgpt_core.models.margins import MARGIN_LEVELS
from fxgpt_core.models.sssd import bulk
from fxgpt_core.models.sssd.forecaster import SSSD
from fxgpt_core.models.sssd.inputs import Inputs
from fxgpt_core.models.sssd.network import Network
from fxgpt_core.models.sssd.one_law import train_head
from fxgpt_core.models.sssd.tuning import Rows

UPDATES, RATE = 400, 0.005
"""Optimiser steps and learning rate."""

_MOST = 20_000  # bars that it learns on, and is judged on


def extended(model: SSSD, dataset: Dataset, seed: int) -> SSSD:
    """Return `model` with the one horizon more that `dataset` has.

    The new horizon starts as the nearest known one (by ratio); its embedding is trained on `dataset.split.train`, and
    how far its scale and mean count is judged on `.validation`, as in a fit. The other horizons keep their quantiles
    where all rows share one law (`informed` 0); else they keep their forecasts where asked for without the new one. A
    student is dropped: it has not seen the new horizon.
    Raises ModelError where the dataset has not all horizons of the model and exactly one more, or no split.
    """
    split, horizon = dataset.split, _new_horizon(model, dataset)
    if split is None:
        raise ModelError(
            f"A horizon of {horizon} minutes cannot be learned: the dataset of {dataset.symbol} has no split."
        )
    made = copy.deepcopy(model)
    network, scaling = made.fitted()
    at = dataset.horizons.index(horizon)
    like = min(range(len(model.horizons)), key=lambda i: abs(math.log(model.horizons[i] / horizon)))
    embedding = network.extend(like, at)
    made.horizons, made.disagreement = dataset.horizons, None
    inputs = Inputs.build(dataset, scaling, made.device)
    taught, judged = (Rows.of(network, dataset, labels, inputs, _MOST) for labels in (split.train, split.validation))
    _settle(network, taught, judged, at, float(label_overlap(dataset)[at]))
    _learn(network, taught, at, embedding, seed)
    network.requires_grad_(True)
    made.adjustment = _adjusted(made, dataset, split, judged, at, seed)
    return made


def _new_horizon(model: SSSD, dataset: Dataset) -> int:
    known, asked = set(model.fitted() and model.horizons), set(dataset.horizons)
    if not known < asked or len(asked) != len(known) + 1:
        raise ModelError(
            f"SSSD was trained for horizons {model.horizons} minutes and takes one more at a time; the dataset of "
            f"{dataset.symbol} has {dataset.horizons}: build it with those and one more."
        )
    return next(iter(asked - known))


def _settle(network: Network, taught: Rows, judged: Rows, at: int, overlap: float) -> None:
    """Judge how far scale and mean of the new horizon count, and take its margin from training labels."""
    prior, columns = network.config.adjustment, []
    with torch.no_grad():
        network.centre[at] = network.learned_log_scale(taught.context)[:, at].mean()
        for rows in (taught, judged):
            counted = rows.mask[:, at] > 0
            mean = network.learned_mean(rows.context[counted])[:, at]
            swing = network.learned_log_scale(rows.context[counted])[:, at] - network.centre[at]
            parts = (mean, swing, rows.target[counted, at])
            columns.append(Column(*(part.double().cpu().numpy() for part in parts)))
    found = Judged(*columns)
    share, lean = trust(found, overlap, prior.scale_errors, prior.mean_errors)
    network.trust[at], network.lean[at] = share, lean
    margin = found.margin(share, lean, MARGIN_LEVELS) / float(torch.exp(network.centre[at]))
    network.margins[:, at] = torch.from_numpy(margin)


def _learn(network: Network, taught: Rows, at: int, embedding: nn.Parameter, seed: int) -> None:
    """Train the embedding, half of the time with the horizon asked for alone, else together with the others.

    Where draws are not given the context, the whole head learns with it: it only says there which draws go together,
    and how they go with the new horizon an embedding alone cannot learn (rank correlation of .07 where .8 was planted).
    """
    head = network.denoiser.head.requires_grad_(not bool(network.informed))
    embedding.requires_grad_(True)
    trained = [embedding] if bool(network.informed) else head.parameters()
    train_head(network, taught, trained, RATE, UPDATES, seed, alone=at)


def _adjusted(model: SSSD, dataset: Dataset, split: Split, judged: Rows, at: int, seed: int) -> Adjustment:
    """Return the adjustment with a correction for the new horizon and the old ones as they were."""
    network, before = model.fitted()[0], model.adjustment
    mask = split.validation & np.isfinite(dataset.targets)
    rows = np.flatnonzero(mask.any(axis=1))
    rows = rows[:: max(1, -(-len(rows) // _MOST))]
    samples = bulk.draw_all(network, judged.context, dataset.known_at[rows], seed)[..., at : at + 1]
    found = Adjustment.fit(
        samples, dataset.targets[rows, at : at + 1], mask[rows, at : at + 1], label_overlap(dataset)[at : at + 1],
        network.config.adjustment, judged=not bool(network.informed),
    )  # fmt: skip
    return Adjustment(np.insert(before.shrink, at, found.shrink[0]), np.insert(before.scale, at, found.scale[0]))
