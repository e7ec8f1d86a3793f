"""`SSSD`: the Forecaster of this family."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.forecast import Forecast, from_standardised
from fxgpt_core.common.progress import Progress, silent
from fxgpt_core.diffusion.noise import row_noise
from fxgpt_core.features.coverage import MissingColumns
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.features.feed import Feed
from fxgpt_core.models.adjustment import Adjustment, label_overlap
from fxgpt_core.models.drawing import with_draws
from fxgpt_core.models.fit_folder import fit_once
from fxgpt_core.models.forecaster import FitReport, Provenance
from fxgpt_core.models.output import check_horizons, empty_forecast, labelled_split
from fxgpt_core.models.session import Session
from fxgpt_core.models.sssd import bulk, storage
from fxgpt_core.models.sssd.config import SSSDConfig
from fxgpt_core.models.sssd.export import FORMATS, export
from fxgpt_core.models.sssd.inputs import Inputs, Scaling
from fxgpt_core.models.sssd.network import Network
from fxgpt_core.models.sssd.one_law import Law, learn_law
from fxgpt_core.models.sssd.tuning import Rows, Tuned, tune
from fxgpt_core.models.summary import summarise
from fxgpt_core.training.plan import TrainingPlan

_LAW = 20_000  # training bars that the joint law is learned from
_JUDGED = 2000  # validation rows that a student is compared with the full sampler on


class SSSD:
    """Structured state-space encoder per timeframe with a joint diffusion over horizons (SPEC 4).

    Fitted state: network weights, scaling, adjustment, horizons, `trained_until`, and how far a student strays from the
    full sampler. Bulk forecasts are the student's where there is one that is near enough (`diffusion.student`).
    """

    family = "sssd"
    formats = FORMATS

    def __init__(self, config: SSSDConfig) -> None:
        self.config = config
        self.device: torch.device = torch.device("cpu")
        self.horizons: tuple[int, ...] = ()
        self.trained_until = np.datetime64("NaT", "ns")
        self.network: Network | None = None
        self.scaling: Scaling | None = None
        self.adjustment = Adjustment.none(0)
        self.disagreement: tuple[float, ...] | None = None
        self._missing = MissingColumns()

    def fit(self, dataset: Dataset, plan: TrainingPlan, progress: Progress = silent) -> FitReport:
        """Train on `dataset.split.train`, stop and shrink on `.validation`.

        With `plan.checkpoints`, an interrupted fit of the same data, configuration and seed continues there, and a
        finished one is loaded; a folder with anything else is started afresh. Raises ModelError without labels.
        """
        split, plan = labelled_split(dataset, self.family), plan.wished(self.config.training.hardware)
        return fit_once(self, dataset, split, plan, lambda: self._train(dataset, split, plan, progress))

    def _train(self, dataset: Dataset, split: Split, plan: TrainingPlan, progress: Progress) -> FitReport:
        from fxgpt_core.models.sssd.lesson import Labels, Lesson
        from fxgpt_core.training.options import RunOptions
        from fxgpt_core.training.run import run_training
        from fxgpt_core.training.segments import SegmentStream

        began, training = time.perf_counter(), self.config.training
        supervised = (split.train & np.isfinite(dataset.targets)).any(axis=1)
        self.horizons, self.trained_until = dataset.horizons, split.trained_until.astype("datetime64[ns]")
        self.scaling = Scaling.fit(dataset, supervised, self.config.scaling, self.config.inputs)
        notes = self.scaling.notes(dataset, supervised, split.validation.any(axis=1), self.config.likeness)
        self.network = self.build(plan.seed)
        self.to(plan.device)
        inputs = Inputs.build(dataset, self.scaling, self.device)

        def start(decided_at: NDArray[np.datetime64], draws: int) -> NDArray[np.float32]:
            return row_noise(plan.seed, decided_at, draws, len(dataset.horizons))

        labels = Labels.build(dataset, self.config, start, self.device)
        segments = SegmentStream(
            supervised,
            training.segment,
            training.batch,
            plan.seed,
            restarts=split.restarts,
            burn_in=training.burn_in,
        )
        options = RunOptions.of(self.family, training)
        lesson = Lesson(self.network, inputs, labels, dataset)
        trained = run_training(lesson, segments, plan, options, progress)
        self.network.load_state_dict(trained.best)
        self.to(trained.plan.device)
        law = self._learn_law(dataset, split, lesson.inputs, plan.seed)
        tuned = self._fine_tune(dataset, split, lesson.inputs, plan.seed)
        told = self._distil(dataset, split, lesson.inputs, plan.seed)
        self._adjust(dataset, split, lesson.inputs, plan.seed)
        metrics = {
            "validation_crps": trained.best_score,
            "best_epoch": float(trained.best_epoch + 1),
            "epochs": float(len(trained.history["train_loss"])),
            **{f"shrink_{h}m": float(v) for h, v in zip(self.horizons, self.adjustment.shrink, strict=True)},
            **{f"scale_{h}m": float(v) for h, v in zip(self.horizons, self.adjustment.scale, strict=True)},
            **{f"trust_{h}m": float(v) for h, v in zip(self.horizons, self.network.trust, strict=True)},
            **{f"lean_{h}m": float(v) for h, v in zip(self.horizons, self.network.lean, strict=True)},
            "informed": float(self.network.informed),
            **({} if law is None else {"pairing": min(law.before, law.after)}),
            **({} if tuned is None else {"fine_tuning_before": tuned.before, "fine_tuning_after": tuned.after}),
            **{f"student_{h}m": v for h, v in zip(self.horizons, self.disagreement or (), strict=False)},
            "weights": float(sum(weight.numel() for weight in self.network.parameters())),
            "columns_left_out": float(sum(len(s.dropped) for s in self.scaling.tables.values())),
        }
        curves = {name: tuple(values) for name, values in trained.history.items()}
        said = (*trained.plan.reasons, *trained.plan.warnings)
        notes = (*notes, *trained.notes, *(() if tuned is None else (tuned.sentence(),)), *told)
        return FitReport(int(supervised.sum()), time.perf_counter() - began, metrics, curves, notes, said)

    def forecast(self, dataset: Dataset, rows: NDArray[np.int64], provenance: Provenance, seed: int = 0) -> Forecast:
        """Forecast base bars `rows`; equal seeds give equal forecasts, however rows are batched.

        Raises ModelError when unfitted, or when horizons or feature names are not those of the fit.
        """
        network, scaling = self.fitted()
        check_horizons(dataset, self.horizons, self.family)
        if not len(rows):
            draws = self.config.diffusion.samples
            return empty_forecast(self.family, dataset, provenance, self.trained_until, draws)
        self._missing.tell(f"sssd of {dataset.symbol}", scaling.unknown(dataset, rows))
        contexts = self._history(Inputs.build(dataset, scaling, self.device), rows)
        samples = bulk.draw_all(network, contexts, dataset.known_at[rows], seed, self.by_student)
        return self.stamped(dataset, rows, contexts, samples, provenance)

    def stamped(
        self,
        dataset: Dataset,
        rows: NDArray[np.int64],
        contexts: torch.Tensor,
        samples: NDArray[np.float32],
        provenance: Provenance,
        columns: Sequence[int] | None = None,
    ) -> Forecast:
        """Return the forecast that contexts (rows, context) and unadjusted samples (rows, draws, horizons) of base bars
        `rows` make.

        `columns`: the horizons to speak of, all where None. The samples given are overwritten.
        """
        at = list(range(len(self.horizons)) if columns is None else columns)
        made = summarise(samples, self.adjustment.apply, self.config.rows_per_pass)
        law = bulk.standing_law(self.fitted()[0], contexts, self.adjustment)
        std, quantiles = (made.std, made.quantiles) if law is None else law
        return from_standardised(
            symbol=dataset.symbol,
            family=self.family,
            horizons=tuple(self.horizons[i] for i in at),
            decided_at=dataset.known_at[rows],
            made_at=provenance.made_at,
            trained_until=self.trained_until,
            model_version=provenance.model_version,
            yardstick=dataset.yardstick[rows][:, at],
            mean=made.mean[:, at],
            std=std[:, at],
            quantiles=quantiles[:, at],
            samples=made.samples[:, :, at],
            origin=provenance.origin,
        )

    @property
    def by_student(self) -> bool:
        """Whether bulk forecasts come from the student."""
        wanted = self.config.diffusion.student
        return wanted is not None and self.disagreement is not None and max(self.disagreement) <= wanted.tolerance

    def open(self, feed: Feed, snapshot: Path | None = None) -> Session:
        """Start a live session at the newest bar of `feed`: from the start of history by one dense pass, or on from
        what a session of this model saved in `snapshot`. Raises ModelError where that does not belong to this model
        and these bars. A session always asks the full sampler.
        """
        from fxgpt_core.models.sssd.session import LiveSession

        return LiveSession(self, feed, snapshot)

    def contexts(self, dataset: Dataset, rows: NDArray[np.int64], by_recurrence: bool = False) -> NDArray[np.float32]:
        """Return the context vectors (rows, context) at base bars `rows`, by convolution or as streamed live."""
        _, scaling = self.fitted()
        inputs = Inputs.build(dataset, scaling, self.device)
        return np.asarray(self._history(inputs, rows, by_recurrence).cpu().numpy())

    def save(self, folder: Path) -> None:
        """Write `weights.safetensors` and `model.json` into `folder`."""
        network, scaling = self.fitted()
        storage.write(
            folder, network, self.config, scaling, self.adjustment, self.horizons, self.trained_until, self.disagreement
        )

    def export(self, folder: Path, form: str) -> dict[str, float]:
        """Write one step of encoder and denoiser in `form` and the model itself; see `sssd.export`."""
        network, _ = self.fitted()
        found = export(copy.deepcopy(network).cpu(), folder, form)
        self.save(folder)
        return found

    def with_draws(self, draws: int) -> SSSD:
        """Return the same model with another number of draws per forecast; raises ModelError out of 10..2000."""
        return with_draws(self, draws)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote, configuration included; the model lands on the CPU."""
        stored = storage.read(folder)
        self.config, self.scaling, self.adjustment = stored.config, stored.scaling, stored.adjustment
        self.horizons, self.trained_until = stored.horizons, stored.trained_until
        self.disagreement = stored.disagreement
        self.network = self.build(seed=0)
        self.network.load_state_dict(stored.weights)
        self.to("cpu")

    def to(self, device: str) -> None:
        """Move the network to a torch device and set it to inference."""
        self.device = torch.device(device)
        if self.network is not None:
            self.network.to(self.device).eval()

    def build(self, seed: int) -> Network:
        """Return an untrained network for the columns of the scaling."""
        assert self.scaling is not None
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            columns = self.scaling.columns
            return Network(columns, len(self.horizons), self.config)

    def fitted(self) -> tuple[Network, Scaling]:
        """Return network and scaling; raises ModelError before `fit` or `load`."""
        if self.network is None or self.scaling is None:
            raise ModelError("SSSD has not been fitted or loaded: call fit or load before forecast and save.")
        return self.network, self.scaling

    def _draw(
        self, dataset: Dataset, inputs: Inputs, rows: NDArray[np.int64], seed: int, by_student: bool = False
    ) -> NDArray[np.float32]:
        """Return unadjusted standardised samples (rows, draws, horizons), noise keyed by (seed, decision time)."""
        network, _ = self.fitted()
        contexts = self._history(inputs, rows)
        return bulk.draw_all(network, contexts, dataset.known_at[rows], seed, by_student)

    def _history(self, inputs: Inputs, rows: NDArray[np.int64], by_recurrence: bool = False) -> torch.Tensor:
        """Return contexts (rows, context) at base bars `rows`, in one dense pass with the state carried."""
        network, _ = self.fitted()
        index = torch.from_numpy(np.asarray(rows, dtype=np.int64)).to(self.device)
        return network.encoder.history(inputs, index, self.config.bars_per_pass, by_recurrence)

    def _learn_law(self, dataset: Dataset, split: Split, inputs: Inputs, seed: int) -> Law | None:
        """Finish the joint law of the draws where all rows share one."""
        network, updates = self.fitted()[0], self.config.training.law_updates
        if bool(network.informed) or not updates or network.horizons < 2:
            return None
        taught = Rows.of(network, dataset, split.train, inputs, _LAW)
        judged = Rows.of(network, dataset, split.validation, inputs, self.config.training.validation_rows)
        return learn_law(network, taught, judged, updates, seed)

    def _fine_tune(self, dataset: Dataset, split: Split, inputs: Inputs, seed: int) -> Tuned | None:
        """Fine-tune the sampler's output where that is configured."""
        network, wanted = self.fitted()[0], self.config.diffusion.fine_tuning
        if wanted is None:
            return None
        taught = Rows.of(network, dataset, split.train, inputs, wanted.contexts)
        judged = Rows.of(network, dataset, split.validation, inputs, self.config.training.validation_rows)
        return tune(network, taught, judged, wanted, seed)

    def _distil(self, dataset: Dataset, split: Split, inputs: Inputs, seed: int) -> tuple[str, ...]:
        """Teach the student where one is configured and judge it on validation rows; return what to tell."""
        network, wanted = self.fitted()[0], self.config.diffusion.student
        if wanted is None:
            return ()
        known = np.isfinite(dataset.targets)
        train = np.flatnonzero((split.train & known).any(axis=1))
        train = train[:: max(1, -(-len(train) // wanted.contexts))]
        network.distil(self._history(inputs, train), seed)
        judged = np.flatnonzero((split.validation & known).any(axis=1))
        judged = judged[:: max(1, -(-len(judged) // min(self.config.training.validation_rows, _JUDGED)))]
        found = bulk.student_disagreement(network, self._history(inputs, judged), dataset.known_at[judged], seed)
        self.disagreement = tuple(float(value) for value in found)
        said = "forecasts are the student's" if self.by_student else "forecasts ask the full sampler"
        return (
            f"the one-step student's quantiles lie {max(found):.3f} deviations from the full sampler's on average at "
            f"the worst horizon, the tolerance is {wanted.tolerance:g}: bulk {said}",
        )

    def _adjust(self, dataset: Dataset, split: Split, inputs: Inputs, seed: int) -> None:
        mask = split.validation & np.isfinite(dataset.targets)
        rows = np.flatnonzero(mask.any(axis=1))
        # By the full sampler also where bulk forecasts are a student's: what is traded is a session's.
        samples, overlap = self._draw(dataset, inputs, rows, seed), label_overlap(dataset)
        judged = not bool(self.fitted()[0].informed)
        self.adjustment = Adjustment.fit(
            samples, dataset.targets[rows], mask[rows], overlap, self.config.adjustment, judged
        )
