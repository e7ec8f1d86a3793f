"""Small datasets with a split, for tests of baselines and tabular families."""

from dataclasses import replace

import numpy as np

from fxgpt_core.common.timeframes import TIMEFRAMES
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset, Split
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

LAYOUT = (TIMEFRAMES["1h"], TIMEFRAMES["4h"])
HORIZONS = (60, 240)
SPEC = FeatureSpec(groups=("ohlc", "time", "volatility", "returns", "oscillators"))
"""Few of the indicators, so that fits take a moment."""


def bars(count: int = 3000, seed: int = 1) -> Candles:
    """Return simulated hourly bars with clustering volatility."""
    return simulate("EURUSD", "1h", start=np.datetime64("2023-01-02T00:00", "ns"), bars=count, seed=seed)


def with_split(dataset: Dataset, test: float = 0.25, validation: float = 0.2) -> Dataset:
    """Return the dataset with its last share as test and purged training and validation labels before."""
    cut = dataset.known_at[int(len(dataset) * (1 - test))]
    known = dataset.mask & (dataset.label_end <= cut)
    rows = np.flatnonzero(known.any(axis=1))
    start = rows[-int(len(rows) * validation)] if validation else len(dataset) - 1
    held = known.copy()
    held[:start] = False
    train = known & (dataset.label_end <= dataset.known_at[start])
    if not validation:
        held, train = np.zeros_like(known), known
    ahead = dataset.usable & (dataset.known_at > cut)
    return dataset.with_split(Split("fold0", train, held, ahead, cut))


def dataset(count: int = 3000, seed: int = 1) -> Dataset:
    """Return a split dataset of simulated bars."""
    return with_split(build_dataset(bars(count, seed), LAYOUT, HORIZONS, SPEC))


def with_targets(data: Dataset, targets: np.ndarray) -> Dataset:
    """Return the dataset with other standardised targets at the known labels."""
    return replace(data, targets=np.where(data.mask, targets, np.nan))
