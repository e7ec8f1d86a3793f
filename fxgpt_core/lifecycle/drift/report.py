"""Drift report by evidently 0.7: JSON always, HTML (several MB) only when there is something to look at."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fxgpt_core.lifecycle.drift.columns import DriftTable
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.detectors import detector
from fxgpt_core.lifecycle.drift.reference import DriftReference
from fxgpt_core.lifecycle.drift.verdict import DriftVerdict

JSON_NAME, HTML_NAME = "drift.json", "drift.html"


def write_drift_report(
    reference: DriftReference | None, table: DriftTable, verdict: DriftVerdict, folder: Path, config: DriftConfig
) -> dict[str, Path]:
    """Write `drift.json`, and `drift.html` when the verdict is drifted; return the paths by kind (`json`, `html`).

    The JSON holds our verdict and evidently's figures for the columns that moved most. Its marks are ours: KS in
    standard deviations of the training weeks against the threshold of the features, because evidently's own p-values
    assume independent rows and call calm markets drifted. What other parts found stands in the `verdict` entry alone.
    An HTML file of an earlier window is removed. A window that was not judged has the verdict alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"verdict": verdict.to_dict(), "summary": verdict.summary}
    snapshot = None if reference is None or verdict.note else _compared(reference, table, verdict, config)
    if snapshot is not None:
        content["evidently"] = json.loads(snapshot.json())
    paths = {"json": folder / JSON_NAME}
    paths["json"].write_text(json.dumps(content, indent=1), encoding="utf-8")
    (folder / HTML_NAME).unlink(missing_ok=True)
    if verdict.drifted and snapshot is not None:
        paths["html"] = folder / HTML_NAME
        snapshot.save_html(str(paths["html"]))
    return paths


def _compared(reference: DriftReference, table: DriftTable, verdict: DriftVerdict, config: DriftConfig) -> Any:
    """Return evidently's comparison of the columns that moved most."""
    names, features = _shown(reference, verdict, config), reference.features
    window = table.between(_time(verdict.window_start), _time(verdict.window_end)).select(features.names)
    _, scores = features.compare(window, detector(config.backend))
    places = [features.names.index(name) for name in names]
    found = {name: float(scores[place]) for name, place in zip(names, places, strict=True)}
    frames = _frame(features.values[:, places], names), _frame(window.values[:, places], names)
    return _evidently(*frames, found, features.threshold)


def _shown(reference: DriftReference, verdict: DriftVerdict, config: DriftConfig) -> tuple[str, ...]:
    """Return the columns that moved most, then others in their order, `report_columns` in all."""
    first = [column.name for column in verdict.top]
    return tuple([*first, *(name for name in reference.features.names if name not in first)][: config.report_columns])


def _time(text: str) -> np.datetime64:
    return np.datetime64(text.removesuffix("Z"), "ns")


def _frame(values: Any, names: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(np.where(np.isfinite(values), values, np.nan).astype(np.float64), columns=list(names))


def _evidently(reference: pd.DataFrame, window: pd.DataFrame, scores: Mapping[str, float], threshold: float) -> Any:
    os.environ["DO_NOT_TRACK"] = "1"  # before the import: nothing is sent anywhere
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType
    from evidently.presets import DataDriftPreset

    def judged(before: pd.Series, _now: pd.Series, _kind: object, limit: float) -> tuple[float, bool]:
        score = scores[str(before.name)]
        return score, score > limit

    weeks = StatTest("training_weeks", "KS in standard deviations of training weeks", [ColumnType.Numerical], threshold)
    register_stattest(weeks, judged)
    columns = DataDefinition(numerical_columns=list(reference.columns))
    one = (
        1000 // len(reference.columns) / 1000
    )  # the verdict asks for one column; evidently for half of them by default
    report = Report([DataDriftPreset(num_method=weeks.name, num_threshold=threshold, drift_share=one)])
    return report.run(
        Dataset.from_pandas(window, data_definition=columns), Dataset.from_pandas(reference, data_definition=columns)
    )
