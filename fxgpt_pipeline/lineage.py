"""`Lineage`: configuration and provenance of one symbol's chain of stages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fxgpt_core.common.errors import DataError, UnfitBarsError
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import Timeframe, timeframe
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.models.registry import FAMILIES, family
from fxgpt_core.store.asset_config import AssetConfig
from fxgpt_core.store.config import family_values, feature_values, validate
from fxgpt_pipeline.brokers import instruments_setting
from fxgpt_pipeline.settings import Settings, load_settings
from fxgpt_pipeline.stages import CANDLES, Key, Stage, build_stages

if TYPE_CHECKING:
    import numpy as np

    from fxgpt_core.features.bars import Releases
    from fxgpt_core.features.dataset import Dataset
    from fxgpt_core.market.candles import Candles
    from fxgpt_pipeline.workspace import Workspace


class Lineage:
    """One symbol: its settings, model configurations, stages and the fingerprint of each stage's result.

    A fingerprint hashes a stage's code version, its settings and the fingerprints below it, down to the checksums
    of the bars: equal fingerprints mean that computing again would give the same result.

    `until`: the close (UTC) of the newest bar that this lineage knows of, None for all that there are. Bars come in
    while models train; a run knows those that it began with, from its first stage to its last.
    """

    def __init__(self, workspace: Workspace, asset: AssetConfig, until: np.datetime64 | None = None) -> None:
        self.workspace, self.asset, self.symbol, self.until = workspace, asset, asset.symbol, until
        self._fingerprints: dict[Key, str] = {}

    def pinned(self, until: np.datetime64 | None) -> Lineage:
        """Return the lineage as it was when the newest bar had closed at `until` (UTC)."""
        return Lineage(self.workspace, self.asset, until)

    @cached_property
    def settings(self) -> Settings:
        """Pipeline settings with this asset's overrides."""
        return load_settings(self.workspace.config_dir, self.asset)

    @cached_property
    def spec(self) -> FeatureSpec:
        values = feature_values(self.asset.features, self.workspace.config_dir)
        return validate(FeatureSpec, values, f"configs/features/{self.asset.features}.yaml")

    @cached_property
    def timeframes(self) -> tuple[Timeframe, ...]:
        return tuple(timeframe(t) for t in self.asset.timeframes)

    @property
    def horizons(self) -> tuple[int, ...]:
        return self.asset.horizon_minutes

    @property
    def families(self) -> tuple[str, ...]:
        """Families switched on for this symbol, in registry order."""
        return tuple(name for name in FAMILIES if name in self.asset.models)

    @property
    def baselines(self) -> tuple[str, ...]:
        return tuple(name for name in self.families if FAMILIES[name].baseline)

    @cached_property
    def stages(self) -> Mapping[Key, Stage]:
        """The stages of the families that are switched on."""
        return build_stages(self.families)

    def family_config(self, name: str) -> Any:
        """Return the validated configuration of a family for this symbol."""
        values = family_values(name, self.asset, self.workspace.config_dir)
        return validate(family(name).config_type(), values, f"configs/{name}")

    def fingerprint(self, key: Key) -> str:
        """Return the fingerprint that the result of a stage has, or would have, right now (or as of `until`)."""
        if key not in self._fingerprints:
            stage = self.stages[key]
            parts: dict[str, Any] = {
                "stage": stage.name,  # two families may have equal settings
                "code": stage.code_version,
                "settings": {name: self._setting(name) for name in stage.settings},
                "deps": [self.fingerprint(dep) for dep in stage.deps],
            }
            if stage.family:
                parts["family"] = self.family_config(stage.family).model_dump(mode="json")
                parts["family_code"] = family(stage.family).code_version
            if key == CANDLES:
                parts["bars"] = self._source_fingerprint()
            self._fingerprints[key] = stable_hash(parts)
        return self._fingerprints[key]

    def recipe(self, key: Key) -> str:
        """Return the hash of how a stage's result is made, whatever the bars and releases: what somebody chose."""
        stage = self.stages[key]
        chosen: dict[str, Any] = {
            "stage": stage.name,
            "code": stage.code_version,
            "settings": {name: self._setting(name) for name in stage.settings if name != "releases"},
            "deps": [self.recipe(dep) for dep in stage.deps],
        }
        if stage.family:
            chosen["family"] = self.family_config(stage.family).model_dump(mode="json")
            chosen["family_code"] = family(stage.family).code_version
        return stable_hash(chosen)

    def _setting(self, name: str) -> Any:
        own = {
            "source": (self.asset.source, self.asset.price_side),
            "timeframes": list(self.asset.timeframes),
            "horizons": self.spec.target_hash(self.timeframes[0], self.horizons),
            "features": list(self.spec.definition_hashes(self.timeframes).values()),
            "releases": self._releases_fingerprint() if name == "releases" else None,
            "aliases": self._aliases() if name == "aliases" else None,
            "instruments": instruments_setting(self) if name == "instruments" else None,
            "costs": self.asset.costs.model_dump(mode="json"),
            "acknowledged_alarms": [entry.model_dump(mode="json") for entry in self.asset.acknowledged_alarms],
        }
        if name in own:
            return own[name]
        value = getattr(self.settings, name)
        return value.model_dump(mode="json") if hasattr(value, "model_dump") else value

    def _aliases(self) -> dict[str, str]:
        """Return who holds which alias: a promotion by hand makes the report stale."""
        versions = self.workspace.registry.versions(self.symbol)
        return {alias: version.version for version in versions for alias in version.aliases}

    def _releases_fingerprint(self) -> str:
        from fxgpt_core.features.surroundings import releases_fingerprint

        return releases_fingerprint(self.workspace.lake, self.symbol)

    def _source_fingerprint(self) -> str:
        from fxgpt_core.market.history import given_bars
        from fxgpt_core.market.source_bars import source_fingerprint

        lake, asset = self.workspace.lake, self.asset
        if asset.remote and not given_bars(lake, self.symbol):
            return "nothing fetched yet"
        return source_fingerprint(lake, self.symbol, self.timeframes[0], asset.candle_source, self.until)

    def require_good_bars(self) -> None:
        """Raise DataError when the stored candles failed their quality check, whoever asks to build on them."""
        failures = self.workspace.documents.read("quality", self.symbol)["failures"]
        if failures:
            raise UnfitBarsError(f"The bars of {self.symbol} are not good enough to build on: {' '.join(failures)}")

    def candles(self, bar: Timeframe | None = None) -> Candles:
        """Read the stored candles of one timeframe, the base by default."""
        from fxgpt_core.market.history import load_candles

        return load_candles(self.workspace.lake, self.symbol, bar or self.timeframes[0], self.until)

    def releases(self) -> Releases | None:
        """Read the economic calendar of both currencies, None where the lake lacks one."""
        from fxgpt_core.features.surroundings import load_releases

        return load_releases(self.workspace.lake, self.symbol)

    def dataset(self) -> Dataset:
        """Read candles, features and targets as one dataset."""
        from fxgpt_core.features.assemble import load_dataset

        return load_dataset(self.workspace.lake, self.symbol, self.timeframes, self.horizons, self.spec, self.until)

    def current_dataset(self) -> Dataset:
        """Return the dataset up to the newest stored bar, its features and targets made first where bars are newer.

        Bars come in between materialisations while models work live. Raises DataError where the bars are not good
        enough to build on.
        """
        from fxgpt_core.features.stored import update_tables, update_targets

        try:
            return self.dataset()
        except DataError:
            self.require_good_bars()
        lake = self.workspace.lake
        update_tables(lake, self.symbol, self.timeframes, self.spec)
        update_targets(lake, self.symbol, self.timeframes, self.horizons, self.spec)
        return self.dataset()
