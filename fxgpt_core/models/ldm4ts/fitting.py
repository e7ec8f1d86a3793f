"""How an LDM4TS comes to be: autoencoder, what is seen of rows, training, and what validation labels let it keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fxgpt_core.common.progress import Progress
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.likeness import likeness
from fxgpt_core.models.adjustment import Adjustment, label_overlap, sample_crps
from fxgpt_core.models.evidence import pairing, shape_gain
from fxgpt_core.models.forecaster import FitReport
from fxgpt_core.models.ldm4ts import sampling
from fxgpt_core.models.ldm4ts.config import LDM4TSConfig
from fxgpt_core.models.ldm4ts.finishing import bars_of, finish
from fxgpt_core.models.ldm4ts.future import PicturesOfBoth, PicturesOfPaths, future_paths
from fxgpt_core.models.ldm4ts.latent_cache import latents_of
from fxgpt_core.models.ldm4ts.latents import Latents
from fxgpt_core.models.ldm4ts.lesson import Labels, Lesson
from fxgpt_core.models.ldm4ts.network import Network
from fxgpt_core.models.ldm4ts.perception import Perception
from fxgpt_core.models.ldm4ts.storage import published
from fxgpt_core.models.ldm4ts.vae_fit import fit_vae, training_windows
from fxgpt_core.models.ldm4ts.windows import candle_series
from fxgpt_core.models.output import split_of
from fxgpt_core.training.options import RunOptions
from fxgpt_core.training.plan import TrainingPlan
from fxgpt_core.training.rows import RowStream
from fxgpt_core.training.run import run_training

AUTOENCODER = "autoencoder"
"""Folder of its training among the checkpoints of a fit."""
_DRAWS = 32  # per validation row, where draws given conditions are judged


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves."""

    network: Network
    perception: Perception
    adjustment: Adjustment
    device: str
    rows: int
    metrics: Mapping[str, float]
    curves: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...]
    plan: tuple[str, ...]


def fit_network(config: LDM4TSConfig, dataset: Dataset, plan: TrainingPlan, progress: Progress) -> Fitted:
    """Fit everything on the training labels of the dataset's split; raises ModelError where there are none."""
    from fxgpt_core.models.ldm4ts.forecaster import build

    split, training = split_of(dataset, "ldm4ts"), config.training
    taught, judged = chosen_rows(config, dataset)
    latents, pictured = autoencoder(config, dataset, taught, judged, plan, progress)
    perception = Perception.fit(dataset, taught, config, latents)
    network = build(config, perception, len(dataset.horizons), latents, plan.seed).to(plan.device)
    kept = None if plan.checkpoints is None else plan.checkpoints / "latents"
    labels = [
        labelled(dataset, rows, mask, perception, latents, plan.device, kept)
        for rows, mask in ((taught, split.train), (judged, split.validation))
    ]
    stride = float(np.median(np.diff(judged))) if len(judged) > 1 else 1.0
    overlap = np.maximum(label_overlap(dataset) / stride, 1.0)
    lesson = Lesson(network, labels[0], labels[1], overlap)
    options = RunOptions.of("ldm4ts", training)
    stream = RowStream(torch.arange(len(taught)), training.batch, plan.seed)
    trained = run_training(lesson, stream, plan, options, progress)
    network.load_state_dict(trained.best)
    network.to(trained.plan.device).eval()
    lesson.to(trained.plan.device)
    moments = dataset.known_at[judged]
    finished = _finished(network, perception, dataset, config, plan.seed)
    shape = settle(network, lesson, moments, plan.seed)
    adjustment = _adjusted(network, lesson, moments, plan.seed)
    metrics = {
        "validation_crps": trained.history["validation_crps"][trained.best_epoch],
        **finished,
        "validation_denoising": trained.history["validation_denoising"][trained.best_epoch],
        "best_epoch": float(trained.best_epoch + 1),
        "epochs": float(len(trained.history["train_loss"])),
        **_by_horizon(dataset.horizons, network, adjustment),
        **shape,
        **_losses_of_pictures(pictured),
        "weights": float(sum(weight.numel() for weight in network.parameters())),
    }
    curves = {name: tuple(values) for name, values in trained.history.items()}
    said = (*trained.plan.reasons, *trained.plan.warnings)
    notes = (*_notes(config, dataset, perception, taught, judged), *trained.notes)
    return Fitted(network, perception, adjustment, trained.plan.device, len(taught), metrics, curves, notes, said)


def _finished(
    network: Network, perception: Perception, dataset: Dataset, config: LDM4TSConfig, seed: int
) -> dict[str, float]:
    """Let gate and read-outs learn from every training bar; return the validation CRPS before and after."""
    if not config.training.finishing:
        return {}
    split = split_of(dataset, "ldm4ts")
    masks = (split.train, split.validation)
    rows = (bars[dataset.usable[bars]] for bars in training_windows(dataset, config.window))
    bars = [bars_of(network, perception, dataset, at, mask) for at, mask in zip(rows, masks, strict=True)]
    before, after = finish(network, dataset, bars[0], bars[1], seed)
    return {"finishing_before": before, "finishing_after": after}


def chosen_rows(config: LDM4TSConfig, dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the base bars that are trained on and those that judge."""
    ready, training = dataset.usable, config.training
    taught, judged = (rows[ready[rows]] for rows in training_windows(dataset, config.window))
    return taught[:: training.stride], _spaced(judged, training.validation_rows)


def autoencoder(
    config: LDM4TSConfig,
    dataset: Dataset,
    taught: NDArray[np.int64],
    judged: NDArray[np.int64],
    plan: TrainingPlan,
    progress: Progress,
) -> tuple[Latents, FitReport | None]:
    """Return the published autoencoder, or the project's own trained on windows and futures of training rows, with the
    report of that training.
    """
    found = published(config)
    if found is not None:
        return found.to(plan.device), None
    count, size = len(dataset), config.vision.size
    paths = np.full((count, size), np.nan, dtype=np.float32)
    ends = []
    split = split_of(dataset, "ldm4ts")
    for rows, mask in ((taught, split.train), (judged, split.validation)):
        own = rows[mask[rows].all(axis=1)]
        paths[own] = future_paths(dataset, own, size)
        after = own[np.isfinite(paths[own]).all(axis=1)]
        ends.append(torch.from_numpy(np.sort(np.concatenate([rows, count + after]))))
    series = torch.from_numpy(candle_series(dataset.candles))
    pictures = PicturesOfBoth(series, config.window, config.vision, torch.from_numpy(np.nan_to_num(paths)))
    folder = None if plan.checkpoints is None else plan.checkpoints / AUTOENCODER
    return fit_vae(pictures, ends[0], ends[1], config.latents.vae, replace(plan, checkpoints=folder), progress)


def _losses_of_pictures(report: FitReport | None) -> dict[str, float]:
    """Return how much of the pictures an autoencoder of the project's own loses."""
    found = {} if report is None else report.metrics
    return {f"autoencoder_{name}": value for name, value in found.items() if name.startswith("unexplained_")}


@torch.no_grad()
def labelled(
    dataset: Dataset,
    rows: NDArray[np.int64],
    used: NDArray[np.bool_],
    perception: Perception,
    latents: Latents,
    device: torch.device | str,
    folder: Path | None = None,
) -> Labels:
    """Return base bars `rows` with the labels that are `used` (bars, horizons), and the latents of what came, which
    are kept in `folder`, where one is given.

    Only rows whose labels are all of that use have a picture of their future: it reaches to the longest of them.
    """
    config = perception.config
    mask = used[rows] & np.isfinite(dataset.targets[rows])
    paths = future_paths(dataset, rows, config.vision.size)
    pictured = mask.all(axis=1) & np.isfinite(paths).all(axis=1)
    drawn = PicturesOfPaths(torch.from_numpy(np.nan_to_num(paths)).to(device), config.vision)
    future = latents_of(latents, drawn, torch.arange(len(rows)), folder, config.rows_per_pass).flatten(1)
    shown = torch.from_numpy(pictured.astype(np.float32)).to(device)
    return Labels(
        perception.rows(dataset, rows, latents, device, folder),
        torch.from_numpy(np.where(mask, dataset.targets[rows], 0.0).astype(np.float32)).to(device),
        torch.from_numpy(mask.astype(np.float32)).to(device),
        future * shown[:, None],
        shown,
    )


def settle(network: Network, lesson: Lesson, moments: NDArray[np.datetime64], seed: int) -> dict[str, float]:
    """Fill the bank, and let draws be told conditions where that beats one law for all rows beyond chance.

    Returns how well draws pair horizons (`evidence.pairing`), and what conditions gain with its t value.
    """
    sampling.fill_bank(network, seed)
    prior, judged = network.config.adjustment, lesson.judged
    at = _spaced(np.arange(len(judged)), network.config.training.shape_rows)
    some, outcome, counted = judged.take(torch.from_numpy(at)), judged.outcome()[at], judged.counted()[at]
    drawn = []
    for informed in (0.0, 1.0):
        network.informed.fill_(informed)
        drawn.append(sampling.draw_rows(network, some.rows, moments[at], seed, _DRAWS).astype(np.float64))
    score = [np.stack([sample_crps(d[..., h], outcome[:, h]) for h in range(d.shape[2])], axis=1) for d in drawn]
    overlap = np.maximum(lesson.overlap * len(at) / len(judged), 1.0)
    gain, t = shape_gain(score[0], score[1], counted, overlap)
    told = prior.shape_errors is None or t > prior.shape_errors
    network.informed.fill_(float(told))
    paired = pairing(drawn[int(told)], np.nan_to_num(outcome), counted)
    return {"informed": float(told), "shape_gain": gain, "shape_t": t, "pairing": paired}


def _adjusted(network: Network, lesson: Lesson, moments: NDArray[np.datetime64], seed: int) -> Adjustment:
    """Return the correction of the spread; the mean has been judged before and stays."""
    judged, told = lesson.judged, bool(network.informed)
    at = _spaced(np.arange(len(judged)), network.config.training.shape_rows if told else len(judged))
    some = judged.take(torch.from_numpy(at))
    samples = sampling.draw_rows(network, some.rows, moments[at], seed)
    overlap = np.maximum(lesson.overlap * len(at) / len(judged), 1.0)
    prior = network.config.adjustment
    return Adjustment.fit(samples, some.outcome(), some.counted(), overlap, prior, judged=True)


def _by_horizon(horizons: tuple[int, ...], network: Network, adjustment: Adjustment) -> dict[str, float]:
    parts: dict[str, Tensor | NDArray[np.float64]] = {
        "trust": network.trust,
        "lean": network.lean,
        "scale": adjustment.scale,
    }
    return {f"{name}_{h}m": float(v) for name, values in parts.items() for h, v in zip(horizons, values, strict=True)}


def _notes(
    config: LDM4TSConfig,
    dataset: Dataset,
    perception: Perception,
    taught: NDArray[np.int64],
    judged: NDArray[np.int64],
) -> tuple[str, ...]:
    """Return what is odd about columns and split."""
    columns = perception.columns
    coverage = columns.scaler.coverage
    said = () if coverage is None else coverage.sentences(columns.names)
    used = [columns.transform(perception.design(dataset, rows)) for rows in (taught, judged)]
    found = likeness(used[0], used[1], config.likeness)
    return (*said, found.sentence(columns.columns)) if found is not None and found.alarm else tuple(said)


def _spaced(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return rows[:: max(1, -(-len(rows) // most))]
