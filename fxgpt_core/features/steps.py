"""`Steps`: the road from base bars to what a model sees, as the functions that are used on it.

There is one road, `PRODUCT`. It is a value so that the leakage check can be shown to catch a fault in any step, by
putting a faulty one in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features.alignment import last_known
from fxgpt_core.features.bars import Surroundings
from fxgpt_core.features.blocks import compute_block, compute_table
from fxgpt_core.features.scaler import Standardiser
from fxgpt_core.features.spec import FeatureSpec, YardstickConfig
from fxgpt_core.features.standardised import Targets, make_targets
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.resampling import resample

Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Steps:
    """What is done on the way, each by default as the product does it.

    `resample(base, timeframe)` -> slower candles; `table(candles, spec, surroundings)` -> features of a
    timeframe, and `block(candles, month, spec, surroundings)` -> those of one month; `join(base known_at, slower
    known_at)` -> row of the slower bar joined to each base bar; `targets(base, horizons, config)` -> yardstick and
    targets; `scale(values, training rows)` -> scaler.
    """

    resample: Callable[[Candles, Timeframe], Candles] = resample
    table: Callable[[Candles, FeatureSpec, Surroundings], FeatureTable] = compute_table
    block: Callable[[Candles, np.datetime64, FeatureSpec, Surroundings], FeatureTable] = compute_block
    join: Callable[[Times, Times], NDArray[np.int64]] = last_known
    targets: Callable[[Candles, tuple[int, ...], YardstickConfig], Targets] = make_targets
    scale: Callable[[NDArray[np.float32], NDArray[np.bool_]], Standardiser] = Standardiser.fit


PRODUCT = Steps()
