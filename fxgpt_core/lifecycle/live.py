"""A forecast for right now: from a bundle and the candles known at this moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fxgpt_core.calibration.labels import decision_labels
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.lifecycle.bundle import Bundle
from fxgpt_core.market.candles import Candles
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.session import chosen, newest, select


def forecast_latest(bundle: Bundle, dataset: Dataset, provenance: Provenance, seed: int = 0) -> Forecast:
    """Return the calibrated forecast made at the close of the last base bar: one row.

    An adaptive calibrator is used as the bundle holds it: bring it up to date first (`online_calibration.caught_up`).
    Raises ModelError when that bar is still in warm-up.
    """
    row = newest(dataset)
    return bundle.forecast(dataset, np.array([row]), provenance, seed)


class CalibratedSession:
    """A live session of a bundle: `models.session.Session` whose forecasts are calibrated.

    `calibrator` is the bundle's when the session opens; whoever brings an adaptive one up to date puts it here. Raises
    StoreError where the feed has other features than the model was trained on, ModelError as `Forecaster.open` does.
    """

    def __init__(self, bundle: Bundle, feed: Feed, snapshot: Path | None = None) -> None:
        bundle.check(feed.dataset)
        self.feed, self.calibrator = feed, bundle.calibrator
        self._raw = bundle.forecaster.open(feed, snapshot)

    def update(self, candles: Candles) -> tuple[str, ...]:
        """See `Session.update`."""
        return self._raw.update(candles)

    def forecast(self, provenance: Provenance, horizons: Sequence[int] | None = None, seed: int = 0) -> Forecast:
        """See `Session.forecast`; a calibrator corrects all horizons, so all are forecast, whichever are wanted."""
        columns, made = chosen(self.feed.horizons, horizons), self._raw.forecast(provenance, seed=seed)
        if self.calibrator is not None:
            labels = decision_labels(self.feed.dataset, made.decided_at, self.calibrator.grouping)
            made = self.calibrator.apply(made, labels)
        return made if horizons is None else select(made, columns)

    def save(self, folder: Path) -> None:
        """See `Session.save`; the calibrator's state is kept by `online_calibration`."""
        self._raw.save(folder)


def forecast_candles(bundle: Bundle, frame: pd.DataFrame, made_at: np.datetime64 | None, seed: int = 0) -> Forecast:
    """Forecast from raw base candles (`ts_utc` ISO text or times, OHLC, optional volume), oldest first.

    `made_at` defaults to the decision time. The calibrator is used as the bundle holds it. Raises BadInputError when
    columns are missing or times cannot be read.
    """
    missing = {"ts_utc", "open", "high", "low", "close"} - set(frame.columns)
    if missing:
        raise BadInputError(f"Candles lack the columns {', '.join(sorted(missing))}.")
    card = bundle.card
    try:
        stamps = pd.to_datetime(frame["ts_utc"], utc=True)
    except (ValueError, TypeError) as error:
        raise BadInputError(f"Column ts_utc cannot be read as times ({error}); write 2024-03-01T12:00:00Z.") from error
    candles = Candles.from_frame(frame.assign(ts_utc=stamps), card.symbol, card.timeframes[0], card.price_side)
    spec = FeatureSpec.model_validate(dict(card.features))
    dataset = build_dataset(candles, tuple(timeframe(t) for t in card.timeframes), card.horizons, spec)
    moment = dataset.known_at[-1] if made_at is None else made_at
    version = str(card.extra.get("version", card.fingerprint))
    return forecast_latest(bundle, dataset, Provenance(version, moment, "live"), seed)
