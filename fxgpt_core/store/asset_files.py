"""The files of `configs/assets/`: reading one or all of them, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fxgpt_core.common.errors import BadInputError, ConfigError
from fxgpt_core.common.symbols import normalise_symbol
from fxgpt_core.store.asset_config import FILE_SOURCES, AssetConfig
from fxgpt_core.store.config import load_yaml, suggestion, validate


def check_families(asset: AssetConfig, known: Iterable[str], where: str) -> None:
    """Raise ConfigError if `asset` names a model family that is not among `known`, with the nearest spelling."""
    names = list(known)
    for name in asset.models:
        if name not in names:
            raise ConfigError(f"{where}: unknown model family {name!r} under models{suggestion(name, names)}")
    for entry in asset.acknowledged_alarms:
        if entry.family not in names:
            said = f"unknown model family {entry.family!r} under acknowledged_alarms"
            raise ConfigError(f"{where}: {said}{suggestion(entry.family, names)}")


def check_source(asset: AssetConfig, providers: Iterable[str], where: str) -> None:
    """Raise ConfigError if `asset` takes its bars from a provider that is not known, with the nearest spelling."""
    names = [*FILE_SOURCES, *providers]
    if asset.source not in names:
        raise ConfigError(f"{where}: unknown source {asset.source!r}{suggestion(asset.source, names)}")


def load_asset(
    path: Path, families: Iterable[str] | None = None, providers: Iterable[str] | None = None
) -> AssetConfig:
    """Read one asset file; the file name must be the symbol. `families` and `providers` are checked where given."""
    asset = validate(AssetConfig, load_yaml(path), str(path))
    if path.stem != asset.symbol:
        raise ConfigError(
            f"{path}: the symbol inside is {asset.symbol}, so the file must be named {asset.symbol}.yaml."
        )
    if families is not None:
        check_families(asset, families, str(path))
    if providers is not None:
        check_source(asset, providers, str(path))
    return asset


def load_assets(
    config_dir: Path, families: Iterable[str] | None = None, providers: Iterable[str] | None = None
) -> dict[str, AssetConfig]:
    """Return every asset of `config_dir/assets/*.yaml` by symbol, sorted, disabled ones included.

    Raises ConfigError for the first file that is wrong; a missing folder gives no assets.
    """
    known, sources = (None if names is None else list(names) for names in (families, providers))
    assets = [load_asset(path, known, sources) for path in sorted((config_dir / "assets").glob("*.yaml"))]
    return {asset.symbol: asset for asset in sorted(assets, key=lambda asset: asset.symbol)}


def readable_assets(
    config_dir: Path, families: Iterable[str] | None = None, providers: Iterable[str] | None = None
) -> tuple[dict[str, AssetConfig], list[str]]:
    """Return the assets whose files are right, and a sentence for each that is wrong: one must not stop the others."""
    known, sources = (None if names is None else list(names) for names in (families, providers))
    assets, problems = {}, []
    for path in sorted((config_dir / "assets").glob("*.yaml")):
        try:
            asset = load_asset(path, known, sources)
            assets[asset.symbol] = asset
        except ConfigError as error:
            problems.append(str(error))
    return assets, problems


def asset_for(
    symbol: str, config_dir: Path, families: Iterable[str] | None = None, providers: Iterable[str] | None = None
) -> AssetConfig:
    """Return the asset that `symbol` (any spelling) names; raises BadInputError listing the assets there are."""
    name = normalise_symbol(symbol)
    path = config_dir / "assets" / f"{name}.yaml"
    if not path.is_file():
        there = sorted(file.stem for file in (config_dir / "assets").glob("*.yaml"))
        raise BadInputError(
            f"{name} is not configured in {config_dir / 'assets'} (known: {', '.join(there) or 'none'}): "
            f"run `fxgpt assets add {name}`."
        )
    return load_asset(path, families, providers)
