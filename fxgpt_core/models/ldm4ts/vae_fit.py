"""Training of the project's own autoencoder, on the pictures of the windows that the forecaster trains on.

Whoever forecasts a fold must have an autoencoder that has seen no later bar than the rest of the model: pictures of the
test span would tell it which shapes are to come, latents of that span would be reconstructed better than those of any
real future, and the fold's scores would no longer be those of a model of its date. So `fit_vae` is a part of the
forecaster's fit and takes its bars from that fit's split. An autoencoder made beforehand is used only where its
fingerprint says that it has learned from exactly these windows, by this configuration and seed.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models import fit_folder
from fxgpt_core.models.forecaster import FitReport
from fxgpt_core.models.ldm4ts import vae_files
from fxgpt_core.models.ldm4ts.vae import SmallVae
from fxgpt_core.models.ldm4ts.vae_config import VaeConfig
from fxgpt_core.models.ldm4ts.windows import WindowImages
from fxgpt_core.training.options import RunOptions
from fxgpt_core.training.plan import TrainingPlan
from fxgpt_core.training.rows import RowStream
from fxgpt_core.training.run import run_training

METRIC = "validation_error"
_PIECE = 256  # pictures encoded together outside training


def training_windows(dataset: Dataset, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bars that end training windows and those that end validation windows of `length` bars.

    They have a label of that use, and a whole window of bars since history began or training restarted. Raises
    ModelError where the dataset has no split or no such bars.
    """
    split = dataset.split
    if split is None:
        raise ModelError(f"The dataset of {dataset.symbol} has no split: an autoencoder cannot be trained on it.")
    begins = np.array([0, *split.restarts])
    bars = np.arange(len(dataset))
    whole = bars - begins[np.searchsorted(begins, bars, side="right") - 1] >= length - 1
    known = np.isfinite(dataset.targets)
    found = []
    for name, mask in (("training", split.train), ("validation", split.validation)):
        rows = np.flatnonzero((mask & known).any(axis=1) & whole)
        if not len(rows):
            raise ModelError(
                f"Split {split.name} of {dataset.symbol} has no {name} labels with {length} bars before: import more "
                "history or shorten the window."
            )
        found.append(rows)
    return found[0], found[1]


def fit_vae(
    images: WindowImages,
    taught: Tensor,
    judged: Tensor,
    config: VaeConfig,
    plan: TrainingPlan,
    progress: Progress = silent,
) -> tuple[SmallVae, FitReport]:
    """Train on the windows that end with bars `taught` (rows,) and stop by those of `judged`; evenly spaced ones stand
    for all where there are more than configured.

    With `plan.checkpoints`, an interrupted training of the same windows, configuration and seed goes on there and a
    finished one is loaded. The autoencoder comes back frozen, on the device of the plan.
    """
    began, folder = time.perf_counter(), plan.checkpoints
    taught, judged = spaced(taught, config.rows), spaced(judged, config.validation_rows)
    wanted = fingerprint(images, taught, judged, config, plan)
    if folder is not None:
        done = fit_folder.finished(folder, wanted)
        if done is not None:
            return vae_files.read(folder / fit_folder.FINISHED).to(plan.device), done
        fit_folder.prepare(folder, wanted)
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        network = SmallVae(config).to(plan.device)
    options = RunOptions(
        "ldm4ts autoencoder",
        config.epochs,
        config.patience,
        config.min_delta,
        config.average_decay,
        gradient_clip=1.0,
        checkpoint_every=config.epochs,
        lr_min=config.lr_min,
    )
    lesson = PictureLesson(network, images.to(plan.device), judged)
    trained = run_training(lesson, RowStream(taught, config.batch, plan.seed), plan, options, progress)
    network.load_state_dict(trained.best)
    network.to(trained.plan.device).eval()
    with torch.no_grad():
        means = [network.posterior(lesson.images(part))[0] for part in torch.split(taught, _PIECE)]
    network.settle(torch.cat(means))
    metrics = {
        METRIC: trained.best_score,
        "best_epoch": float(trained.best_epoch + 1),
        "latent_scale": float(network.scale),
        **{f"unexplained_{name}": share for name, share in unexplained(network, lesson.images, judged).items()},
    }
    curves = {name: tuple(values) for name, values in trained.history.items()}
    said = (*trained.plan.reasons, *trained.plan.warnings)
    report = FitReport(len(taught), time.perf_counter() - began, metrics, curves, trained.notes, said)
    if folder is not None:
        vae_files.write(folder / fit_folder.FINISHED, network, images.config, images.length)
        fit_folder.finish(folder, wanted, report)
    return network, report


def fingerprint(images: WindowImages, taught: Tensor, judged: Tensor, config: VaeConfig, plan: TrainingPlan) -> str:
    """Return a hash of everything that decides a training: pictures, which of them, configuration, seed, precision."""
    parts = [images.fingerprint(taught), images.fingerprint(judged), plan.seed, plan.precision]
    return stable_hash(["ldm4ts vae", config.model_dump(mode="json"), *parts])


@torch.no_grad()
def unexplained(network: SmallVae, images: WindowImages, bars: Tensor) -> dict[str, float]:
    """Return by encoding the squared error of the pictures' pixels as a share of their variance."""
    error, power = torch.zeros(3), torch.zeros(3)
    for part in torch.split(bars, _PIECE):
        drawn = images(part)
        error += (network.decode(network.encode(drawn)) - drawn).square().sum(dim=(0, 2, 3)).cpu()
        power += (drawn - drawn.mean(dim=(0, 2, 3), keepdim=True)).square().sum(dim=(0, 2, 3)).cpu()
    return {name: float(error[c] / power[c].clamp(min=1e-12)) for c, name in enumerate(images.config.channels)}


class PictureLesson:
    """What the autoencoder learns, as `training.lesson.Lesson` asks for it: an item is the bar that ends a window."""

    metric = METRIC

    def __init__(self, network: SmallVae, images: WindowImages, judged: Tensor) -> None:
        self.network, self.images, self.judged = network, images, judged

    def loss(self, items: Tensor, keys: Tensor) -> Tensor:
        """Return squared error of a pixel plus weighed divergence."""
        drawn = self.images(items)
        side = drawn.shape[-1] // self.network.factor
        shape = (self.network.channels, side, side)
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(int(key))) for key in keys])
        error, divergence = self.network.losses(drawn, noise.to(drawn))
        return error + self.network.config.kl_weight * divergence

    def renew(self) -> bool:
        """Nothing is kept of the weights."""
        return False

    def weights(self, items: Tensor) -> Tensor:
        """All pictures weigh the same."""
        return torch.ones(len(items), device=items.device)

    def groups(self) -> list[dict[str, object]]:
        """One rate for all; norms and biases never decay."""
        config, parameters = self.network.config, list(self.network.parameters())
        kernels, rest = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim < 2]
        return [
            {"params": kernels, "lr": config.lr, "weight_decay": config.weight_decay},
            {"params": rest, "lr": config.lr, "weight_decay": 0.0},
        ]

    def blocks(self) -> list[nn.Module]:
        """Nothing is worth recomputing."""
        return []

    @torch.no_grad()
    def validate(self, parts: int) -> dict[str, float]:
        """Return the squared error of a pixel through the posterior's mean, over the validation windows."""
        size = max(min(_PIECE, -(-len(self.judged) // parts)), 1)
        total = 0.0
        for part in torch.split(self.judged, size):
            drawn = self.images(part)
            made = self.network.draw(self.network.posterior(drawn)[0])
            total += float((made - drawn).double().square().mean()) * len(part)
        return {METRIC: total / len(self.judged)}

    def to(self, device: torch.device | str) -> None:
        """Move the series."""
        self.images = self.images.to(device)


def spaced(bars: Tensor, most: int) -> Tensor:
    """Return `most` of `bars` (rows,) or fewer, evenly spaced."""
    return bars[:: max(1, -(-len(bars) // most))]
