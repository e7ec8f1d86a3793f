"""Tables of the operational database (SPEC 16): an index into MLflow, live forecasts and the audit of decisions.

The registry of models is MLflow; rows here point to its versions and never replace it.
"""

from __future__ import annotations

from fxgpt_core.store.models.alerts import AlertRow, DeliveryRow
from fxgpt_core.store.models.audit import DecisionRow, Promotion, RetrainingEvent, StateRow
from fxgpt_core.store.models.base import Base, UtcDateTime
from fxgpt_core.store.models.live import ForecastFailure, LiveForecast, OutcomeRow, PerformanceRow
from fxgpt_core.store.models.research import EnsembleWeight, StudyRow, StudyTrialRow
from fxgpt_core.store.models.trading import AdherenceRow, FillRow, OrderRow, TrialRow
from fxgpt_core.store.models.versions import Checkpoint, Model, TrainingRun

__all__ = [
    "AdherenceRow",
    "AlertRow",
    "Base",
    "Checkpoint",
    "DecisionRow",
    "DeliveryRow",
    "EnsembleWeight",
    "FillRow",
    "ForecastFailure",
    "LiveForecast",
    "Model",
    "OrderRow",
    "OutcomeRow",
    "PerformanceRow",
    "Promotion",
    "RetrainingEvent",
    "StateRow",
    "StudyRow",
    "StudyTrialRow",
    "TrainingRun",
    "TrialRow",
    "UtcDateTime",
]
