"""The autoencoder made before the rest of a fit, so that it can be looked at, versioned and used again."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models import fit_folder
from fxgpt_core.models.forecaster import FitReport
from fxgpt_core.models.groundwork import Shown
from fxgpt_core.models.ldm4ts import vae_files
from fxgpt_core.models.ldm4ts.config import LDM4TSConfig
from fxgpt_core.models.ldm4ts.fitting import AUTOENCODER, autoencoder, chosen_rows
from fxgpt_core.models.ldm4ts.windows import WindowImages
from fxgpt_core.training.plan import TrainingPlan


def fit(config: LDM4TSConfig, dataset: Dataset, plan: TrainingPlan, progress: Progress = silent) -> FitReport | None:
    """Train the autoencoder of the fit that `LDM4TS.fit` would do with equal arguments, and nothing else of it.

    What it leaves in `plan.checkpoints` that fit finds and does not train again; None where the configuration names a
    published autoencoder, which is not trained.
    """
    plan = plan.wished(config.training.hardware)
    taught, judged = chosen_rows(config, dataset)
    return autoencoder(config, dataset, taught, judged, plan, progress)[1]


@torch.no_grad()
def show(config: LDM4TSConfig, dataset: Dataset, plan: TrainingPlan, rows: NDArray[np.int64]) -> list[Shown]:
    """Return the windows that end with base bars `rows`, and what the autoencoder that `fit` left keeps of them."""
    assert plan.checkpoints is not None  # `fit` left it there
    vae = vae_files.read(plan.checkpoints / AUTOENCODER / fit_folder.FINISHED)
    images = WindowImages.of(dataset.candles, config.window, config.vision)
    drawn = images(torch.from_numpy(rows))
    kept = vae.decode(vae.encode(drawn)).clamp(-1.0, 1.0)
    return [
        Shown(
            dataset.candles.take(slice(max(int(row) + 1 - config.window, 0), int(row) + 1)),
            config.vision.channels,
            drawn[i].numpy(),
            kept[i].numpy(),
        )
        for i, row in enumerate(rows)
    ]
