"""Entry of the family registry: configuration type and constructor; importing it does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fxgpt_core.models.sssd.config import SSSDConfig as Config

if TYPE_CHECKING:
    from fxgpt_core.models.sssd.forecaster import SSSD


def create(config: Config) -> SSSD:
    """Return an unfitted SSSD."""
    from fxgpt_core.models.sssd.forecaster import SSSD

    return SSSD(config)


__all__ = ["Config", "create"]
