"""`fxgpt check`: configuration, stored data and features, each judged without changing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fxgpt_core.common.errors import FxgptError
from fxgpt_core.store.paths import config_dir
from fxgpt_pipeline.cli.lazy import LazyGroup, Verb
from fxgpt_pipeline.cli.output import json_option, print_json

if TYPE_CHECKING:
    from fxgpt_core.common.config import Config

_VERBS = {
    "data": Verb("fxgpt_pipeline.cli.check_data:data", "Are the stored bars what their manifests say?"),
    "leakage": Verb("fxgpt_pipeline.cli.leakage:leakage", "Does a feature change when the future is cut off?"),
    "recursive": Verb("fxgpt_pipeline.cli.leakage:recursive", "Does a feature change with more warm-up?"),
}


@click.group(cls=LazyGroup, verbs=_VERBS)
def check() -> None:
    """Check configuration, stored data and features."""


@dataclass
class ConfigurationReport:
    """Files that were read, assets that are valid, and a sentence per problem."""

    files: list[str] = field(default_factory=list)
    assets: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@check.command("config", short_help="Is every YAML file valid?")
@json_option
@click.pass_context
def config(ctx: click.Context, as_json: bool) -> None:
    """Check every YAML file: assets, model families, features and pipeline; exit code 2 when one is wrong."""
    report = check_configuration(config_dir())
    if as_json:
        print_json({"files": report.files, "assets": report.assets, "problems": report.problems})
    else:
        for problem in report.problems:
            click.echo(f"Error: {problem}", err=True)
        click.echo(f"{len(report.files)} files, {len(report.problems)} problems; assets: {' '.join(report.assets)}")
    if report.problems:
        ctx.exit(2)


def check_configuration(configs: Path) -> ConfigurationReport:
    """Read every file below `configs` as the pipeline would; one wrong file does not hide the others."""
    from fxgpt_core.lifecycle.alerts.config import ALERTS_FILE
    from fxgpt_core.market.instrument_config import INSTRUMENTS_FILE
    from fxgpt_core.models.registry import FAMILIES
    from fxgpt_core.store.config import suggestion

    report = ConfigurationReport()
    if not configs.is_dir():
        report.problems.append(f"Configuration folder {configs} does not exist: set FXGPT_CONFIG_DIR or restore it.")
        return report
    folders = {"assets", "features", *FAMILIES}
    for path in sorted(configs.rglob("*.y*ml")):
        name = path.relative_to(configs)
        report.files.append(str(name))
        if len(name.parts) == 1 and name.name in (
            "pipeline.yaml",
            "market_hours.yaml",
            INSTRUMENTS_FILE,
            ALERTS_FILE,
        ):
            continue
        if len(name.parts) != 2 or name.parts[0] not in folders or path.suffix != ".yaml":
            report.problems.append(f"{path} is read by nothing{suggestion(str(name.with_suffix('')), folders)}")
    _collect(_configuration_checks(configs, report), report)
    if not report.assets and not report.problems:
        report.problems.append(f"{configs / 'assets'} holds no asset: add one with `fxgpt assets add EURUSD`.")
    return report


def _collect(checks: Iterable[Callable[[], object]], report: ConfigurationReport) -> bool:
    """Run checks, adding a sentence per failure; returns whether all passed."""
    passed = True
    for what in checks:
        try:
            what()
        except FxgptError as error:
            passed = False
            if str(error) not in report.problems:
                report.problems.append(str(error))
    return passed


def _configuration_checks(configs: Path, report: ConfigurationReport) -> Iterator[Callable[[], object]]:
    """Yield one check per file, and per asset with everything that it leads to."""
    from fxgpt_core.features.spec import FeatureSpec
    from fxgpt_core.lifecycle.alerts.config import load_alerts
    from fxgpt_core.market.instrument_config import load_instruments
    from fxgpt_core.models.registry import FAMILIES
    from fxgpt_pipeline.settings import load_settings

    yield partial(load_settings, configs)
    yield partial(load_instruments, configs)
    yield partial(load_alerts, configs)
    for path in sorted((configs / "features").glob("*.yaml")):
        yield partial(_check_file, FeatureSpec, path)
    for entry in FAMILIES.values():
        for path in sorted((configs / entry.name).glob("*.yaml")):
            yield partial(_check_file, entry.config_type(), path)
    for path in sorted((configs / "assets").glob("*.yaml")):
        yield partial(_check_asset, path, configs, report)


def _check_file(model: type[Config], path: Path) -> None:
    from fxgpt_core.store.config import load_yaml, validate

    validate(model, load_yaml(path), str(path))


def _check_asset(path: Path, configs: Path, report: ConfigurationReport) -> None:
    """Resolve everything that an asset file says, as its lineage would."""
    from fxgpt_core.features.spec import FeatureSpec
    from fxgpt_core.market.providers.registry import PROVIDERS, config_type
    from fxgpt_core.models.registry import FAMILIES, family
    from fxgpt_core.store.asset_files import load_asset
    from fxgpt_core.store.config import family_values, feature_values, validate
    from fxgpt_pipeline.settings import load_settings

    asset = load_asset(path, FAMILIES, PROVIDERS)

    def check_provider() -> None:
        validate(config_type(asset.source), asset.provider, f"{path}, provider")

    def check_features() -> None:
        validate(FeatureSpec, feature_values(asset.features, configs), f"{path}, features {asset.features}")

    def check_family(name: str) -> None:
        values = family_values(name, asset, configs)
        validate(family(name).config_type(), values, f"{path} over {configs / name}")

    checks: list[Callable[[], object]] = [partial(load_settings, configs, asset), check_features]
    checks += [check_provider] if asset.remote else []
    checks += [partial(check_family, name) for name in asset.models]
    if _collect(checks, report):
        report.assets.append(asset.symbol)
