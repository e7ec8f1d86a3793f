"""Starting noise that depends only on (seed, decision time), so forecasts do not depend on how rows are batched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri


def row_noise(
    seed: int, decided_at: NDArray[np.datetime64], draws: int, horizons: int, stream: int = 0
) -> NDArray[np.float32]:
    """Return standard normal noise (rows, draws, horizons), stratified over draws by Latin hypercube sampling.

    Every coordinate has exactly one draw in each of `draws` equally likely strata (McKay, Beckman & Conover 1979), in
    independent random order per coordinate; a deterministic sampler then yields quantiles far less noisy than from
    independent draws. `stream` separates several noises of one row.
    """
    out = np.empty((len(decided_at), draws, horizons), dtype=np.float32)
    for row, moment in enumerate(decided_at.astype("datetime64[ns]").astype(np.int64)):
        rng = np.random.default_rng([seed, stream, int(moment) % 2**63])
        order = rng.permuted(np.tile(np.arange(draws), (horizons, 1)), axis=1)
        out[row] = ndtri((order + rng.random((horizons, draws))) / draws).T
    return np.clip(out, -8.0, 8.0)  # ndtri is infinite at a uniform draw of exactly 0; normal noise never leaves this
