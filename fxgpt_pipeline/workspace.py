"""`Workspace`: where one process works: state directory, configuration, clock, and the stores they lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fxgpt_core.common.progress import Progress
from fxgpt_core.market.providers.registry import PROVIDERS
from fxgpt_core.models.registry import FAMILIES
from fxgpt_core.store.asset_config import AssetConfig
from fxgpt_core.store.asset_files import asset_for, readable_assets
from fxgpt_core.store.clock import Clock, SystemClock
from fxgpt_core.store.documents import Documents
from fxgpt_core.store.paths import Home, config_dir

if TYPE_CHECKING:
    from fxgpt_core.lifecycle.registry import ModelRegistry
    from fxgpt_core.lifecycle.served_models import ServedModels
    from fxgpt_core.market.lake import Lake
    from fxgpt_core.store.database import Database
    from fxgpt_pipeline.lineage import Lineage


@dataclass(frozen=True)
class Workspace:
    """Locations and clock of one process; `progress` is where long work reports (None: the run's log)."""

    home: Home
    config_dir: Path
    clock: Clock = field(default_factory=SystemClock)
    progress: Progress | None = None

    @classmethod
    def from_environment(cls, progress: Progress | None = None) -> Workspace:
        """Return the workspace named by `FXGPT_HOME` and `FXGPT_CONFIG_DIR`."""
        return cls(Home.from_environment(), config_dir(), progress=progress)

    @cached_property
    def lake(self) -> Lake:
        from fxgpt_core.market.lake import Lake

        return Lake(self.home.lake)

    @cached_property
    def documents(self) -> Documents:
        return Documents(self.home.lake)

    @cached_property
    def database(self) -> Database:
        from fxgpt_core.store.database import Database

        return Database(self.home.database_url)

    @cached_property
    def registry(self) -> ModelRegistry:
        from fxgpt_core.lifecycle.registry import ModelRegistry

        return ModelRegistry(self.home.mlflow_uri, self.home.artifacts)

    @cached_property
    def served(self) -> ServedModels:
        from fxgpt_core.lifecycle.served_models import ServedModels

        return ServedModels(self.registry, self.database, self.clock)

    @property
    def assets(self) -> Mapping[str, AssetConfig]:
        """Every configured asset whose file is right, by symbol."""
        return self._readable[0]

    @property
    def asset_problems(self) -> list[str]:
        """A sentence for each asset file that is wrong."""
        return self._readable[1]

    @cached_property
    def _readable(self) -> tuple[dict[str, AssetConfig], list[str]]:
        return readable_assets(self.config_dir, FAMILIES, PROVIDERS)

    def lineage(self, symbol: str) -> Lineage:
        """Return the lineage of `symbol` as its file is now; raises BadInputError with what to do without one."""
        from fxgpt_pipeline.lineage import Lineage

        return Lineage(self, asset_for(symbol, self.config_dir, FAMILIES, PROVIDERS))
