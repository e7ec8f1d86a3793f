"""`LDM4TS`: the Forecaster of this family."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import Forecast, from_standardised
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.features.coverage import MissingColumns
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.features.feed import Feed
from fxgpt_core.models.adjustment import Adjustment
from fxgpt_core.models.drawing import with_draws
from fxgpt_core.models.fit_folder import fit_once
from fxgpt_core.models.forecaster import FitReport, Provenance
from fxgpt_core.models.ldm4ts import sampling, storage
from fxgpt_core.models.ldm4ts.config import LDM4TSConfig
from fxgpt_core.models.ldm4ts.latents import Latents
from fxgpt_core.models.ldm4ts.network import Network
from fxgpt_core.models.ldm4ts.perception import Perception
from fxgpt_core.models.margins import standing_law
from fxgpt_core.models.output import check_horizons, empty_forecast, labelled_split
from fxgpt_core.models.session import BulkSession, Session
from fxgpt_core.models.summary import summarise
from fxgpt_core.training.plan import TrainingPlan


class LDM4TS:
    """Forecasts through pictures in a latent diffusion model (SPEC 5).

    Fitted state: network weights with how far they are trusted, what is seen of a row (`Perception`), the frozen
    autoencoder, adjustment, horizons, `trained_until`.
    """

    family = "ldm4ts"

    def __init__(self, config: LDM4TSConfig) -> None:
        self.config = config
        self.device: torch.device = torch.device("cpu")
        self.horizons: tuple[int, ...] = ()
        self.trained_until = np.datetime64("NaT", "ns")
        self.network: Network | None = None
        self.perception: Perception | None = None
        self.adjustment = Adjustment.none(0)
        self._missing = MissingColumns()

    def fit(self, dataset: Dataset, plan: TrainingPlan, progress: Progress = silent) -> FitReport:
        """Train on strided rows of `dataset.split.train`, stop and trust by `.validation`.

        With `plan.checkpoints`, an interrupted fit of the same data, configuration and seed continues there, and a
        finished one is loaded; a folder with anything else is started afresh. Raises ModelError without labels.
        """
        split, plan = labelled_split(dataset, self.family), plan.wished(self.config.training.hardware)
        return fit_once(self, dataset, split, plan, lambda: self._train(dataset, split, plan, progress))

    def _train(self, dataset: Dataset, split: Split, plan: TrainingPlan, progress: Progress) -> FitReport:
        from fxgpt_core.models.ldm4ts.fitting import fit_network

        began = time.perf_counter()
        self.horizons, self.trained_until = dataset.horizons, split.trained_until.astype("datetime64[ns]")
        fitted = fit_network(self.config, dataset, plan, progress)
        self.network, self.perception, self.adjustment = fitted.network, fitted.perception, fitted.adjustment
        self.to(fitted.device)
        return FitReport(
            fitted.rows, time.perf_counter() - began, fitted.metrics, fitted.curves, fitted.notes, fitted.plan
        )

    def forecast(self, dataset: Dataset, rows: NDArray[np.int64], provenance: Provenance, seed: int = 0) -> Forecast:
        """Forecast base bars `rows`; equal seeds give equal forecasts, however rows are batched.

        Raises ModelError when unfitted, or when horizons or feature names are not those of the fit.
        """
        network, perception = self.fitted()
        check_horizons(dataset, self.horizons, self.family)
        if not len(rows):
            draws = self.config.diffusion.samples
            return empty_forecast(self.family, dataset, provenance, self.trained_until, draws)
        raw = perception.design(dataset, rows)
        self._missing.tell(f"{self.family} of {dataset.symbol}", perception.columns.unknown(raw))
        seen = perception.rows(dataset, rows, network.latents, self.device, raw=raw)
        times, moments = dataset.known_at[rows], sampling.moments_of(network, seen)
        samples = sampling.draw_rows(network, seen, times, seed, moments=moments)
        made = summarise(samples, self.adjustment.apply, self.config.rows_per_pass)
        std, quantiles = made.std, made.quantiles
        if not bool(network.informed):
            mean, log_scale = (part.double().cpu().numpy() for part in moments)
            std, quantiles = standing_law(network.margins, mean, log_scale, self.adjustment)
        return from_standardised(
            symbol=dataset.symbol,
            family=self.family,
            horizons=self.horizons,
            decided_at=times,
            made_at=provenance.made_at,
            trained_until=self.trained_until,
            model_version=provenance.model_version,
            yardstick=dataset.yardstick[rows],
            mean=made.mean,
            std=std,
            quantiles=quantiles,
            samples=made.samples,
            origin=provenance.origin,
        )

    def open(self, feed: Feed, snapshot: Path | None = None) -> Session:
        """Follow the market; a window is all that a forecast needs, so there is no state and nothing to restore."""
        return BulkSession(self, feed)

    def save(self, folder: Path) -> None:
        """Write the fitted state into `folder`; see `ldm4ts.storage`."""
        network, perception = self.fitted()
        storage.write(folder, network, perception, self.adjustment, self.horizons, self.trained_until)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote, configuration included; the model lands on the CPU."""
        stored = storage.read(folder)
        self.config, self.perception, self.adjustment = stored.config, stored.perception, stored.adjustment
        self.horizons, self.trained_until = stored.horizons, stored.trained_until
        self.network = build(self.config, self.perception, len(self.horizons), stored.latents, seed=0)
        self.network.load_state_dict(stored.weights)
        self.to("cpu")

    def with_draws(self, draws: int) -> LDM4TS:
        """Return the same model with another number of draws per forecast; raises ModelError out of 10..2000."""
        return with_draws(self, draws)

    def to(self, device: torch.device | str) -> None:
        """Move network and autoencoder to a torch device and set them to inference."""
        self.device = torch.device(device)
        if self.network is not None:
            self.network.to(self.device).eval()
            self.network.latents.to(self.device)

    def fitted(self) -> tuple[Network, Perception]:
        """Return network and perception; raises ModelError before `fit` or `load`."""
        if self.network is None or self.perception is None:
            raise ModelError("LDM4TS has not been fitted or loaded: call fit or load before forecast and save.")
        return self.network, self.perception


def build(config: LDM4TSConfig, perception: Perception, horizons: int, latents: Latents, seed: int) -> Network:
    """Return an untrained network for what is seen of a row."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(perception.layout, len(perception.columns.columns), horizons, config, latents)
