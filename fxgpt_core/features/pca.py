"""Principal components of standardised features, learned from training rows only (Pearson 1901; Jolliffe 2002)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import DataError, ModelError

Floats = NDArray[np.float64]


class PCAConfig(Config):
    """How many principal components stand in for the features."""

    variance: float = Field(
        default=0.95, gt=0, le=1, description="Share of the variance on training rows that is kept at least."
    )
    most: int = Field(default=100, ge=1, le=10_000, description="Most components.")


@dataclass(frozen=True)
class PCA:
    """Projection of standardised columns on their main directions.

    `mean`: (columns,); `directions`: (columns, components) orthonormal, the largest loading of each positive (of equal
    ones the first), so that the same rows always give the same signs; `explained`: (components,) share of the variance
    of the training rows, falling. Components keep their own variance: whitening would give noise the weight of signal.
    """

    mean: Floats
    directions: Floats
    explained: Floats

    @classmethod
    def fit(cls, x: NDArray[Any], rows: NDArray[Any] | slice, config: PCAConfig | None = None) -> PCA:
        """Learn from the training `rows` (mask or indices) of standardised `x` (all rows, columns) without gaps.

        Raises DataError where there are no two training rows, no column, no variance or missing values.
        """
        config = config or PCAConfig()
        chosen = np.asarray(x[rows])
        if len(chosen) < 2 or not chosen.shape[1]:
            raise DataError(f"Principal components need two training rows and a column, not {chosen.shape}.")
        mean = chosen.mean(axis=0, dtype=np.float64)
        centred = chosen - mean.astype(chosen.dtype)
        covariance = np.asarray(centred.T @ centred, dtype=np.float64) / len(chosen)
        if not np.isfinite(covariance).all():
            raise DataError("Principal components need known values: standardise the columns first.")
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]  # largest first
        total = float(values.sum())
        if total <= 0:
            raise DataError("Principal components need a column that varies on the training rows.")
        share = values / total
        enough = int(np.searchsorted(np.cumsum(share), config.variance * (1 - 1e-12))) + 1
        real = max(1, int((values > 1e-9 * values[0]).sum()))
        count = min(enough, config.most, real)
        return cls(mean, _signed(vectors[:, :count]), share[:count].copy())

    def transform(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Return the components of standardised `x` (rows, columns): (rows, components) float32.

        Raises DataError when the number of columns differs from the fit's.
        """
        if x.shape[1] != len(self.mean):
            raise DataError(f"The components were fitted on {len(self.mean)} columns and were given {x.shape[1]}.")
        directions = self.directions.astype(np.float32)
        offset = (self.mean @ self.directions).astype(np.float32)
        return np.asarray(x, dtype=np.float32) @ directions - offset

    @property
    def names(self) -> tuple[str, ...]:
        """Return `pc_1`, `pc_2`, ...: one name per component."""
        return tuple(f"pc_{i + 1}" for i in range(len(self.explained)))

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        from safetensors.numpy import save_file

        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in ("mean", "directions", "explained")}
        save_file(arrays, path)

    @classmethod
    def load(cls, path: Path) -> PCA:
        """Read what `save` wrote; raises ModelError when it is missing or damaged."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays = load_file(path)
            return cls(arrays["mean"], arrays["directions"], arrays["explained"])
        except (OSError, SafetensorError, KeyError) as error:
            raise ModelError(f"{path} holds no principal components ({error}): save the model again.") from error


def _signed(vectors: Floats) -> Floats:
    """Return the vectors with their largest loading positive; near ties are settled by the first of them."""
    size = np.abs(vectors)
    first = (size >= size.max(axis=0) * (1 - 1e-6)).argmax(axis=0)
    sign = np.sign(vectors[first, np.arange(vectors.shape[1])])
    return np.asarray(vectors * sign)
