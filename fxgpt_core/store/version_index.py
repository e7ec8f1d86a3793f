"""The operational database's index of registered versions; the registry itself is MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.models import Model
from fxgpt_core.store.rows import aware, insert_once


def index_model(
    session: Session,
    symbol: str,
    family: str,
    version: str,
    trained_until: datetime | np.datetime64,
    config: Mapping[str, Any],
) -> Model:
    """Return the row of a registered version, made where there is none; raises StoreError where it is another's."""
    values = {
        "symbol": symbol,
        "family": family,
        "mlflow_version": str(version),
        "trained_until": aware(trained_until),
        "config": dict(config),
    }
    model = insert_once(session, Model, values, ("symbol", "mlflow_version"))[0]
    if model.family != family:
        raise StoreError(f"Version {version} of {symbol} is indexed as {model.family}, not {family}: MLflow was reset?")
    return model
