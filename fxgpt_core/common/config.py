"""Base of every configuration type: frozen, unknown keys refused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A validated, immutable configuration section; each layer declares its own next to the code it steers."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
