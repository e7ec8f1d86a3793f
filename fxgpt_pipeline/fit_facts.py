"""What a run shows of the fits that it made: loss curve, parameters, plan, duration, notes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import dagster as dg

from fxgpt_core.models.forecaster import FitReport


def fit_facts(fits: Mapping[str, FitReport], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return run metadata of fits by name (a fold, or the candidate); empty where nothing was fitted.

    `parameters`: the family's resolved configuration. Families that learn without epochs have no curve and no plan.
    """
    if not fits:
        return {}
    last = list(fits.values())[-1]
    facts: dict[str, Any] = {
        "parameters": dg.MetadataValue.json(dict(parameters)),
        "fit_seconds": round(sum(fit.seconds for fit in fits.values()), 2),
        "fits": dg.MetadataValue.json({name: {"rows": fit.rows, **fit.metrics} for name, fit in fits.items()}),
    }
    if last.plan:
        facts["plan"] = dg.MetadataValue.md(_list(last.plan))
    notes = [f"{name}: {note}" if len(fits) > 1 else note for name, fit in fits.items() for note in fit.notes]
    if notes:
        facts["notes"] = dg.MetadataValue.md(_list(notes))
    curves = {name: fit.curves for name, fit in fits.items() if fit.curves}
    if curves:
        from fxgpt_core.reports.training_curve import training_curve

        picture = base64.b64encode(training_curve(curves)).decode()
        facts["loss_curve"] = dg.MetadataValue.md(f"![loss and validation by epoch](data:image/png;base64,{picture})")
        facts["epochs"] = sum(len(next(iter(one.values()))) for one in curves.values())
    return facts


def _list(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)
