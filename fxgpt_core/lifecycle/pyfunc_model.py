"""The MLflow pyfunc of every family, logged as code: candles in, calibrated quantiles out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class FxgptModel(PythonModel):  # type: ignore[misc]
    """Serve one bundle: `predict` takes base candles (`ts_utc`, OHLC, optional volume) up to the decision bar.

    A served model has no database: an adaptive calibrator (aci, dtaci) corrects as it was registered and learns nothing
    from outcomes since. Every row says so: `calibration_state` is `as registered`, `calibration_known_until` the last
    outcome that the correction knows, both empty where there is none. `fxgpt forecast` learns on.
    """

    def load_context(self, context: PythonModelContext) -> None:
        from fxgpt_core.lifecycle.bundle import load_bundle

        self.bundle = load_bundle(Path(context.artifacts["bundle"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return one row per horizon of the forecast made at the close of the last candle given."""
        from fxgpt_core.lifecycle.live import forecast_candles

        options = params or {}
        forecast = forecast_candles(
            self.bundle,
            model_input,
            made_at=np.datetime64(options["made_at"], "ns") if options.get("made_at") else None,
            seed=int(options.get("seed", 0)),
        )
        frame = forecast.to_frame()
        for name in ("decided_at", "made_at", "trained_until"):
            frame[name] = frame[name].map(lambda t: t.isoformat())
        calibrator = self.bundle.calibrator
        frame["calibration_state"] = "" if calibrator is None else "as registered"
        frame["calibration_known_until"] = "" if calibrator is None else f"{calibrator.known_until}Z"
        return frame


mlflow.models.set_model(FxgptModel())
