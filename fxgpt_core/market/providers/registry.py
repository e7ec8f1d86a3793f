"""The list of providers: a new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.providers.provider import Pace, Provider
from fxgpt_core.store.clock import Clock
from fxgpt_core.store.config import suggestion, validate

_HERE = "fxgpt_core.market.providers"

PROVIDERS: dict[str, str] = {
    "dukascopy": f"{_HERE}.dukascopy",
    "tiingo": f"{_HERE}.tiingo",
    "alpha_vantage": f"{_HERE}.alpha_vantage",
    "files": f"{_HERE}.files",
    "sample": f"{_HERE}.sample",
    "simulator": f"{_HERE}.simulator",
}
"""Name -> module with `Config` and `create(config, pace)`; imported when the provider is used."""


def config_type(name: str) -> type[Config]:
    """Return the options of a provider as a type; raises BadInputError with the nearest spelling."""
    if name not in PROVIDERS:
        raise BadInputError(f"There is no provider {name!r}{suggestion(name, PROVIDERS)}")
    found: type[Config] = import_module(PROVIDERS[name]).Config
    return found


def lag_hours(name: str, options: Mapping[str, Any] | None = None) -> float:
    """Return how many hours after its close a provider has a bar; 0 for bars that are there at once."""
    config = validate(config_type(name), options or {}, f"Options of provider {name}")
    return float(getattr(config, "lag_hours", 0.0))


def provider(
    name: str,
    options: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    pace: Pace | None = None,
    where: str = "",
) -> Provider:
    """Return the provider called `name`, with keys from the environment.

    `options` are fields of its `Config`; `where` says for messages where they stand; `clock` is laid over `pace`'s.
    Raises BadInputError for an unknown name or a missing key, ConfigError for an option that is wrong.
    """
    config = validate(config_type(name), options or {}, where or f"Options of provider {name}")
    paced = pace or Pace()
    paced = replace(paced, clock=clock) if clock is not None else paced
    made: Provider = import_module(PROVIDERS[name]).create(config, paced)
    return made
