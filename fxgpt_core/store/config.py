"""YAML configuration: loading, layering and one-sentence errors (DESIGN, "Configuration").

Layers, weakest first: the family's file under `configs/`, the asset's overlay, the caller's override.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Hashable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import ConfigError, FxgptError
from fxgpt_core.store.paths import CHECKOUT

if TYPE_CHECKING:
    from fxgpt_core.store.asset_config import AssetConfig

PRESET = "preset"
"""Key of an overlay that chooses the file below `configs/<family>/`."""

_C = TypeVar("_C", bound=Config)


class _Loader(yaml.SafeLoader):
    """Safe loader that refuses a key written twice, which plain YAML would let the later line win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} appears twice", key_node.start_mark)
            seen.add(key if isinstance(key, Hashable) else str(key))
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping; an empty file gives `{}`.

    Raises ConfigError naming the file and, for a syntax error, the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"Configuration file {path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Configuration file {path} cannot be read: {error}.") from error
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {error.problem or error.context}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}.") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys with values, found a {type(values).__name__}.")
    wrong = [key for key in values if not isinstance(key, str)]
    if wrong:
        raise ConfigError(f"{path}: key {wrong[0]!r} is not text; put it in quotes.")
    return values


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the layers merged deeply, later ones winning; mappings merge, everything else is replaced whole."""
    out: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping) and isinstance(out.get(key), Mapping):
                out[key] = merge(out[key], value)
            else:
                out[key] = deepcopy(dict(value) if isinstance(value, Mapping) else value)
    return out


def layered_values(folder: Path, *overlays: Mapping[str, Any]) -> dict[str, Any]:
    """Return `folder/<preset>.yaml` merged with `overlays`; the last overlay with the key `preset` chooses the file.

    Without a choice the file is `default.yaml`, which may be absent: then the defaults of the code hold. A chosen
    preset must exist. Raises ConfigError naming the presets there are.
    """
    overlay = merge(*overlays)
    preset = overlay.pop(PRESET, None)
    if preset is not None and (not isinstance(preset, str) or not preset.replace("_", "").replace("-", "").isalnum()):
        raise ConfigError(f"{folder}: preset {preset!r} is not a name of letters, digits, - and _.")
    path = folder / f"{preset or 'default'}.yaml"
    if not path.is_file():
        if preset in (None, "default"):
            return overlay
        there = sorted(file.stem for file in folder.glob("*.yaml"))
        raise ConfigError(f"{folder}: there is no preset {preset!r}{suggestion(str(preset), there)}")
    return merge(load_yaml(path), overlay)


def family_values(
    family: str, asset: AssetConfig, config_dir: Path, override: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the values of a model family for an asset: `configs/<family>/<preset>.yaml` <- asset <- `override`."""
    return layered_values(config_dir / family, asset.models.get(family, {}), override or {})


def feature_values(name: str, config_dir: Path) -> dict[str, Any]:
    """Return the values of `configs/features/<name>.yaml`."""
    return layered_values(config_dir / "features", {PRESET: name})


def shipped_file(model: type[_C], name: str) -> _C:
    """Return a file of the configuration folder that ships with the product."""
    path = CHECKOUT / "configs" / name
    return validate(model, load_yaml(path), str(path))


def folder_file(model: type[_C], config_dir: Path, name: str) -> _C:
    """Return a file that all pairs share, the shipped one where the folder lacks it.

    Raises ConfigError naming the file and the key.
    """
    path = config_dir / name
    return validate(model, load_yaml(path), str(path)) if path.exists() else shipped_file(model, name)


def suggestion(value: str, choices: Iterable[str]) -> str:
    """Return the end of a sentence about a misspelt name: the nearest choice, or all of them where none is near."""
    known = list(choices)
    near = difflib.get_close_matches(value, known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known are {', '.join(known)}" if known else "; none exist"


def validate(model: type[_C], values: Mapping[str, Any], where: str) -> _C:
    """Return `values` as a `model`.

    Raises ConfigError, one sentence: `where` (usually the file), key path, value, what is allowed, nearest spelling.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        found: dict[str, str] = {}
        for item in error.errors(include_url=False):
            path, owner = _locate(model, item["loc"])
            found.setdefault(path, _explain(path, owner, dict(item)))
        sentence = "; ".join(found.values())
        raise ConfigError(f"{where}: {sentence}{'' if sentence.endswith('?') else '.'}") from error
    except FxgptError as error:
        raise ConfigError(f"{where}: {error}") from error


def _locate(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[str, type[BaseModel] | None]:
    """Return the dotted key path of an error and the model that the last key belongs to."""
    path, here, owner = "", [model], None
    for step in loc:
        models = [m for m in here if isinstance(m, type) and issubclass(m, BaseModel)]
        owner = next((m for m in models if step in m.model_fields), models[0] if models else None)
        if owner is not None and step in owner.model_fields:
            here = _inner(owner.model_fields[str(step)].annotation)
        elif isinstance(step, int):
            path += f"[{step}]"
            continue
        elif owner is None and any(typing.get_origin(h) in (types.UnionType, typing.Union) for h in here):
            continue  # the tag of a union's branch is no key of the file
        path += f".{step}" if path else str(step)
    return path, owner


def _inner(annotation: Any) -> list[Any]:
    """Return the annotation and everything nested in it, so that models inside lists and dicts are found."""
    out = [annotation]
    for argument in typing.get_args(annotation):
        out += _inner(argument)
    return out


def _explain(path: str, owner: type[BaseModel] | None, item: dict[str, Any]) -> str:
    """Return what is wrong with one key, without a full stop."""
    kind, key = item["type"], path.rpartition(".")[2]
    if kind == "extra_forbidden":
        return f"unknown key {path!r}{suggestion(key, owner.model_fields if owner else ())}"
    if kind == "missing":
        return f"key {path!r} is missing"
    message = str(item["msg"]).removeprefix("Value error, ").rstrip(".")
    if kind == "value_error":
        return f"{path}: {message}" if path else message
    value = item["input"]
    shown = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:77]}..."
    if kind == "literal_error":
        names = [part.strip().strip("'") for part in item["ctx"]["expected"].replace(" or ", ",").split(",")]
        near = difflib.get_close_matches(str(value), names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"{path} is {shown}, but must be {item['ctx']['expected']}{hint}"
    allowed = _bounds(owner, key)
    if kind.startswith(("greater_than", "less_than")) and allowed:
        return f"{path} is {shown}, but must be {allowed}"
    message = message[:1].lower() + message[1:]
    return f"{path} is {shown}: {message}" + (f" ({allowed})" if allowed and "valid" in message else "")


def _bounds(owner: type[BaseModel] | None, key: str) -> str:
    """Return the allowed range of a field in words, "" where it has none."""
    if owner is None or key not in owner.model_fields:
        return ""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    parts = [
        f"{sign} {getattr(rule, name)}"
        for rule in owner.model_fields[key].metadata
        for name, sign in signs.items()
        if getattr(rule, name, None) is not None
    ]
    return " and ".join(parts)
