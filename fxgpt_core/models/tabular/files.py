"""Files of tabular models: one JSON with everything but the learned scales; no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fxgpt_core.common.errors import ModelError

if TYPE_CHECKING:
    from fxgpt_core.models.tabular.location_scale import Head

_FILE = "heads.json"


def write_heads(
    folder: Path,
    horizons: tuple[int, ...],
    inputs: Mapping[str, Any],
    heads: Sequence[Head],
    trained_until: np.datetime64,
) -> None:
    """Write `heads.json`; `inputs` is what describes the columns."""
    values = {
        "horizons": list(horizons),
        **inputs,
        "trained_until": str(trained_until),
        "heads": [_values(head) for head in heads],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).write_text(json.dumps(values))


def read_heads(folder: Path) -> dict[str, Any]:
    """Read `heads.json`; raises ModelError when it is missing or damaged."""
    try:
        values: dict[str, Any] = json.loads((folder / _FILE).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ModelError(f"Model folder {folder} has no readable {_FILE} ({error}): save the model again.") from error
    return values


def _values(head: Head) -> dict[str, Any]:
    location = head.location
    return {
        "centre": head.centre,
        "share": head.share,
        "quantiles": head.residuals.quantiles.tolist(),
        "std": head.residuals.std,
        "location": None
        if location is None
        else {"weights": location.weights.tolist(), "intercept": location.intercept},
    }
