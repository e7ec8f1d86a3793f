"""The autoencoder made before the rest of a fit, so that it can be looked at, versioned and used again."""

from __future__ import annotations

from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.models.forecaster import FitReport
from fxgpt_core.models.ldm4ts.config import LDM4TSConfig
from fxgpt_core.models.ldm4ts.fitting import autoencoder, chosen_rows
from fxgpt_core.training.plan import TrainingPlan


def fit(config: LDM4TSConfig, dataset: Dataset, plan: TrainingPlan, progress: Progress = silent) -> FitReport | None:
    """Train the autoencoder of the fit that `LDM4TS.fit` would do with equal arguments, and nothing else of it.

    What it leaves in `plan.checkpoints` that fit finds and does not train again; None where the configuration names a
    published autoencoder, which is not trained.
    """
    plan = plan.wished(config.training.hardware)
    taught, judged = chosen_rows(config, dataset)
    return autoencoder(config, dataset, taught, judged, plan, progress)[1]
