"""Fitting a family again with further seeds, beside the official forecasts, to see how much its seed decides."""

from __future__ import annotations

from typing import Any

from fxgpt_core.calibration.labels import decision_labels
from fxgpt_core.calibration.walk_forward import walk_forward_calibration
from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.progress import Progress
from fxgpt_core.evaluation.archive import CALIBRATED, read_span
from fxgpt_core.evaluation.seeds import SeedSpread, same_forecasts, seed_spread
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.models.registry import family as entry_of
from fxgpt_core.models.walk_forward import WalkForward, read_walk_forward
from fxgpt_pipeline.evaluating import EVALUATION
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.stages import SCORES
from fxgpt_pipeline.training import walk_forward_forecasts


def seeds_name(family: str) -> str:
    """Name of the document that holds a family's skill by seed."""
    return f"seeds_{family}"


def repeat_with_seeds(lineage: Lineage, family: str, count: int, progress: Progress) -> SeedSpread:
    """Run a family's walk-forward with `count` seeds, the official one among them; stores and returns the spread.

    Further seeds follow the official one; their folds stay in the lake under names of their own, so an interrupted
    run carries on. A family whose folds all come out the same to the bit with a second seed takes no random draw, and
    no third one is run; a single fold would not tell, where a model falls back to its yardstick.
    Raises DataError where the symbol's evaluation is out of date, BadInputError for another family than it has.
    """
    symbol, documents = lineage.symbol, lineage.workspace.documents
    if family not in lineage.families:
        raise BadInputError(f"{symbol} has no family {family!r}: it has {', '.join(lineage.families)}.")
    if documents.fingerprint(EVALUATION, symbol) != lineage.fingerprint(SCORES):
        raise DataError(
            f"{symbol} has no evaluation of these bars and settings to compare seeds with: "
            f"run `fxgpt materialize --symbol {symbol}` first."
        )
    entry, first = entry_of(family), lineage.settings.seed
    official, lake = read_walk_forward(lineage.workspace.lake, symbol, family), lineage.workspace.lake
    forecasts = {first: read_span(lake, CALIBRATED, symbol, family)}
    for seed in range(first + 1, first + count):
        folds = walk_forward_forecasts(lineage, entry, progress, seed)
        forecasts[seed] = _calibrated(lineage, folds)
        if same_forecasts(folds.forecast, official.forecast):
            break
    baselines = {name: read_span(lake, CALIBRATED, symbol, name) for name in lineage.baselines if name != family}
    outcomes = Outcomes.from_dataset(lineage.dataset())
    spread = seed_spread(symbol, family, forecasts, baselines, outcomes, lineage.settings.evaluation)
    documents.write(seeds_name(family), symbol, spread.to_dict(), lineage.fingerprint(SCORES))
    return spread


def stored_spread(lineage: Lineage, family: str) -> dict[str, Any] | None:
    """Return a family's spread over seeds (`SeedSpread.to_dict`), None where none is up to date."""
    documents, name = lineage.workspace.documents, seeds_name(family)
    if documents.fingerprint(name, lineage.symbol) != lineage.fingerprint(SCORES):
        return None
    return dict(documents.read(name, lineage.symbol))


def _calibrated(lineage: Lineage, folds: WalkForward) -> Forecast:
    """Return the folds calibrated as the official ones are."""
    dataset, config = lineage.dataset(), lineage.settings.calibration
    labels = decision_labels(dataset, folds.forecast.decided_at, config.grouping)
    outcomes = Outcomes.from_dataset(dataset)
    return walk_forward_calibration(folds.forecast, outcomes, folds.fold, config, labels)[0]
