"""Entry of the family registry: configuration type and constructor; importing it does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fxgpt_core.models.ldm4ts.config import LDM4TSConfig as Config

if TYPE_CHECKING:
    from fxgpt_core.models.ldm4ts.forecaster import LDM4TS


def create(config: Config) -> LDM4TS:
    """Return an unfitted LDM4TS."""
    from fxgpt_core.models.ldm4ts.forecaster import LDM4TS

    return LDM4TS(config)


__all__ = ["Config", "create"]
