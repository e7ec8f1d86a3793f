"""`Bundle`: a fitted forecaster with everything needed to forecast again, as a checksummed folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.calibration.conformal import ConformalCalibrator
from fxgpt_core.calibration.labels import decision_labels
from fxgpt_core.common.errors import StoreError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.lifecycle.novelty import NoveltyReference
from fxgpt_core.models.forecaster import Forecaster, Provenance
from fxgpt_core.models.registry import family

CARD = "card.json"
CHECKSUMS = "checksums.json"
CALIBRATOR = "calibrator.json"
NOVELTY = "novelty.json"
FORECASTER = "forecaster"


@dataclass(frozen=True)
class Card:
    """What a model is and where it comes from; stored as JSON beside it.

    `trained_until`: ISO time (UTC) of the last label seen. `features`: the feature configuration as it was in force.
    `fingerprint` identifies inputs, configuration and code; equal fingerprints mean the same model.
    """

    symbol: str
    family: str
    fingerprint: str
    trained_until: str
    timeframes: tuple[str, ...]
    horizons: tuple[int, ...]
    price_side: str
    config: Mapping[str, Any]
    features: Mapping[str, Any]
    feature_hash: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A forecaster, its conformal calibrator (None where too little was known to fit one) and its card.

    `novelty` says which rows are unlike those that it was trained on; None for models stored before there was one.
    """

    card: Card
    forecaster: Forecaster
    calibrator: ConformalCalibrator | None
    novelty: NoveltyReference | None = None

    def forecast(self, dataset: Dataset, rows: NDArray[np.int64], provenance: Provenance, seed: int = 0) -> Forecast:
        """Forecast the chosen base bars and calibrate: what leaves the system is always calibrated (SPEC 10)."""
        raw = self.raw(dataset, rows, provenance, seed)
        if self.calibrator is None:
            return raw
        return self.calibrator.apply(raw, decision_labels(dataset, raw.decided_at, self.calibrator.grouping))

    def raw(self, dataset: Dataset, rows: NDArray[np.int64], provenance: Provenance, seed: int = 0) -> Forecast:
        """Forecast the chosen base bars without calibration, for calibrators to learn from."""
        self.check(dataset)
        return self.forecaster.forecast(dataset, rows, provenance, seed)

    def check(self, dataset: Dataset) -> None:
        """Raise StoreError where the data have other features than the model was trained on."""
        if dataset.definition_hash != self.card.feature_hash:
            raise StoreError(
                f"{self.card.family} for {self.card.symbol} was trained on features {self.card.feature_hash}, "
                f"the data at hand have {dataset.definition_hash}: rebuild them with the model's own feature set."
            )


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write the bundle into an empty folder, checksums last."""
    folder.mkdir(parents=True, exist_ok=True)
    bundle.forecaster.save(folder / FORECASTER)
    if bundle.calibrator is not None:
        (folder / CALIBRATOR).write_text(json.dumps(bundle.calibrator.to_dict(), indent=1))
    if bundle.novelty is not None:
        (folder / NOVELTY).write_text(json.dumps(bundle.novelty.to_dict()))
    (folder / CARD).write_text(json.dumps(asdict(bundle.card), indent=1, sort_keys=True))
    (folder / CHECKSUMS).write_text(json.dumps(_checksums(folder), indent=1, sort_keys=True))


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle back; raises StoreError naming the file that is missing or damaged."""
    verify(folder)
    values = json.loads((folder / CARD).read_text())
    card = Card(**{**values, "timeframes": tuple(values["timeframes"]), "horizons": tuple(values["horizons"])})
    entry = family(card.family)
    forecaster = entry.create(entry.config(dict(card.config)))
    forecaster.load(folder / FORECASTER)
    saved = folder / CALIBRATOR
    calibrator = ConformalCalibrator.from_dict(json.loads(saved.read_text())) if saved.exists() else None
    strange = folder / NOVELTY
    novelty = NoveltyReference.from_dict(json.loads(strange.read_text())) if strange.exists() else None
    return Bundle(card, forecaster, calibrator, novelty)


def verify(folder: Path) -> None:
    """Compare every file with its checksum; raises StoreError for what is missing, added or changed."""
    listing = folder / CHECKSUMS
    if not listing.exists():
        raise StoreError(f"Model folder {folder} has no {CHECKSUMS}: it was not written completely; register it again.")
    expected: dict[str, str] = json.loads(listing.read_text())
    found = _checksums(folder)
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        raise StoreError(f"Model folder {folder}: {', '.join(wrong)} missing or damaged; roll back to another version.")


def _checksums(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != CHECKSUMS
    }
