"""Presets: named files of a family's configuration, which single values are laid over."""

from __future__ import annotations

from typing import Any

import yaml

from fxgpt_core.common.errors import ConfigError
from fxgpt_core.store.paths import config_dir


def from_preset(family: str, values: Any) -> Any:
    """Return `values` laid over the preset they name under `preset`; what names none is returned as it is."""
    if not isinstance(values, dict) or "preset" not in values:
        return values
    return merge(read_preset(family, str(values["preset"])), {k: v for k, v in values.items() if k != "preset"})


def read_preset(family: str, name: str) -> dict[str, Any]:
    """Return the values of `configs/<family>/<name>.yaml`; raises ConfigError naming the known presets."""
    folder = config_dir() / family
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise ConfigError(f"Unknown {family.upper()} preset {name!r}: presets in {folder} are {known}.")
    values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{family.upper()} preset {path} must hold keys and values.")
    return values


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `over` laid on top, section by section."""
    out = dict(base)
    for key, value in over.items():
        both = isinstance(out.get(key), dict) and isinstance(value, dict)
        out[key] = merge(out[key], value) if both else value
    return out
