"""The list of model families: a new family is one package and one line here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.models.forecaster import Forecaster
from fxgpt_core.models.groundwork import Groundwork


@dataclass(frozen=True)
class FamilyEntry:
    """One family: `name` as in configuration, `label` for people, `module` with `Config` and `create(config)`.

    `baseline`: honest reference that others must beat. `accelerated`: trains on the device that torch finds.
    `groundwork`: parts of its fit that have stages of their own.
    The module is imported only when the family is used, so that listing families stays free of torch.
    """

    name: str
    label: str
    module: str
    baseline: bool = False
    accelerated: bool = False
    code_version: str = "1"
    groundwork: tuple[Groundwork, ...] = ()

    def config_type(self) -> Any:
        """Return the family's configuration type (a Pydantic model)."""
        return import_module(self.module).Config

    def config(self, values: dict[str, Any]) -> Any:
        """Return the family's validated configuration."""
        return self.config_type().model_validate(values)

    def create(self, config: Any) -> Forecaster:
        """Return an unfitted forecaster."""
        forecaster: Forecaster = import_module(self.module).create(config)
        return forecaster


FAMILIES: dict[str, FamilyEntry] = {
    entry.name: entry
    for entry in (
        FamilyEntry("ewma", "EWMA walk", "fxgpt_core.models.baselines.ewma", baseline=True),
        FamilyEntry(
            "seasonal_ewma",
            "Seasonal EWMA walk",
            "fxgpt_core.models.baselines.seasonal_ewma",
            baseline=True,
        ),
        FamilyEntry(
            "climatology", "Climatology", "fxgpt_core.models.baselines.climatology", baseline=True, code_version="2"
        ),
        FamilyEntry(
            "filtered_historical",
            "Filtered history",
            "fxgpt_core.models.baselines.filtered_historical",
            baseline=True,
            code_version="2",
        ),
        FamilyEntry("garch", "GARCH(1,1)-t", "fxgpt_core.models.baselines.garch", baseline=True),
        FamilyEntry("har", "HAR-RV", "fxgpt_core.models.baselines.har", baseline=True),
        FamilyEntry("ridge", "Ridge", "fxgpt_core.models.tabular.ridge", code_version="2"),
        FamilyEntry("lightgbm", "LightGBM", "fxgpt_core.models.tabular.lightgbm"),
        FamilyEntry("sssd", "SSSD", "fxgpt_core.models.sssd.family", accelerated=True),
        FamilyEntry(
            "ldm4ts",
            "LDM4TS",
            "fxgpt_core.models.ldm4ts.family",
            accelerated=True,
            groundwork=(Groundwork("autoencoder", "autoencoder of pictures", "fxgpt_core.models.ldm4ts.pretraining"),),
        ),
    )
}


def family(name: str) -> FamilyEntry:
    """Return the entry named `name`; raises BadInputError listing the known families."""
    if name not in FAMILIES:
        raise BadInputError(f"Unknown model family {name!r}: known are {', '.join(FAMILIES)}.")
    return FAMILIES[name]
