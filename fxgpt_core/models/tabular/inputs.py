"""`Inputs`: from design matrix to what a tabular family learns from, fitted on training rows only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import ModelError
from fxgpt_core.features.pca import PCA, PCAConfig
from fxgpt_core.features.scaler import ScalingConfig, Standardiser

Matrix = NDArray[np.float32]

_PCA = "pca.safetensors"


@dataclass(frozen=True)
class Inputs:
    """Standardised columns that a model keeps, or their principal components.

    `names`: all columns of the design, in order, so that a forecast from other ones is refused.
    """

    names: tuple[str, ...]
    scaler: Standardiser
    pca: PCA | None = None

    @classmethod
    def fit(
        cls,
        raw: Matrix,
        names: tuple[str, ...],
        training: NDArray[np.bool_],
        scaling: ScalingConfig,
        pca: PCAConfig | None = None,
    ) -> Inputs:
        """Learn from the `training` rows (mask) of the design `raw` (rows, columns).

        Raises ModelError where every column is left out.
        """
        scaler = Standardiser.fit(raw, training, scaling)
        if not len(scaler.kept):
            raise ModelError(f"None of {len(names)} columns can be used: {scaler.dropped.get(0, '')}, and so on.")
        components = None if pca is None else PCA.fit(scaler.transform(raw[training]), slice(None), pca)
        return cls(names, scaler, components)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that `transform` gives."""
        return self.scaler.names(self.names) if self.pca is None else self.pca.names

    @property
    def metrics(self) -> dict[str, float]:
        """What a fit report says of the inputs."""
        counts = {"columns": float(len(self.scaler.kept)), "columns_left_out": float(len(self.scaler.dropped))}
        if self.pca is None:
            return counts
        explained = float(self.pca.explained.sum())
        return {**counts, "pca_components": float(len(self.pca.explained)), "pca_variance": explained}

    def transform(self, raw: Matrix) -> Matrix:
        """Return what the model sees: (rows, columns) float32 without gaps."""
        x = self.scaler.transform(raw)
        return x if self.pca is None else self.pca.transform(x)

    def unknown(self, raw: Matrix) -> tuple[str, ...]:
        """Return the columns in use without any known value in `raw`: the model takes them to be at their mean."""
        return tuple(self.names[i] for i in self.scaler.unknown(raw))

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the components, where there are any, into `folder`; return the rest for JSON."""
        if self.pca is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.pca.save(folder / _PCA)
        return {"names": list(self.names), "scaler": self.scaler.to_dict(), "pca": self.pca is not None}

    @classmethod
    def load(cls, folder: Path, values: Mapping[str, Any]) -> Inputs:
        """Read what `save` wrote and returned."""
        pca = PCA.load(folder / _PCA) if values.get("pca") else None
        return cls(tuple(values["names"]), Standardiser.from_dict(values["scaler"]), pca)
