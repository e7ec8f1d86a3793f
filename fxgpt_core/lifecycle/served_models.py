"""`ServedModels`: who serves a symbol, also while the registry is away or an artefact of it is damaged.

A version that serves is copied, checked, beside the registry, with a note of who holds which alias. Where the registry
cannot be asked, or what it gives is not what was registered, the copy goes on forecasting and a person is told.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

from filelock import FileLock

from fxgpt_core.common.errors import FxgptError, StoreError
from fxgpt_core.lifecycle.bundle import Bundle, load_bundle, verify
from fxgpt_core.lifecycle.registry import ModelRegistry, ModelVersion
from fxgpt_core.store.alerts import Alert, record_alert
from fxgpt_core.store.clock import Clock
from fxgpt_core.store.database import Database
from fxgpt_core.store.documents import write_atomically

Complaint = Callable[[str], object]

_LOG = logging.getLogger("fxgpt.serving")
_NOTE = "aliases.json"
_REPEATS = timedelta(hours=6)


class ServedModels:
    """The models that serve, from `registry` or from their copies; what goes wrong is an alert in `database`."""

    def __init__(self, registry: ModelRegistry, database: Database, clock: Clock) -> None:
        self._registry, self._database, self._clock = registry, database, clock
        self._folder = registry.artifacts.parent / "serving"

    def holders(self, symbol: str, complain: Complaint | None = None) -> Mapping[str, ModelVersion]:
        """Return alias -> version, as they were last seen where the registry cannot be asked; `complain` hears of that.

        Raises StoreError where it cannot and nobody has served that symbol here before.
        """
        try:
            held = {alias: version for version in self._registry.versions(symbol) for alias in version.aliases}
        except StoreError as error:
            known = self._noted(symbol)
            if not known:
                raise
            who = ", ".join(f"{alias} {version.label}" for alias, version in known.items())
            self._tell(symbol, "away", f"{error} Meanwhile its last known models forecast on: {who}.", complain)
            return known
        if held and held != self._noted(symbol):
            with suppress(OSError):
                write_atomically(self._folder / symbol / _NOTE, json.dumps({a: asdict(v) for a, v in held.items()}))
        return held

    def bundle(self, version: ModelVersion, complain: Complaint | None = None) -> Bundle:
        """Return a version ready to forecast; raises StoreError where neither the registry nor a copy has it whole."""
        copy = self._copy(version)
        try:
            made = load_bundle(self._registry.folder(version))
        except StoreError as error:
            if not copy.exists():
                raise
            made = load_bundle(copy)
            self._tell(
                version.symbol, f"artefact {version.version}", f"{error} Its copy forecasts on: {copy}.", complain
            )
            return made
        self.keep(version)
        return made

    def keep(self, version: ModelVersion) -> None:
        """Copy a version that serves, unless there is a copy; one that cannot be made now is made another time."""
        copy = self._copy(version)
        if copy.exists() or not version.aliases:
            return
        part = copy.with_name(f".{copy.name}.part")
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(copy.parent / ".lock"):
                shutil.rmtree(part, ignore_errors=True)
                shutil.copytree(self._registry.folder(version), part)
                verify(part)
                if not copy.exists():
                    part.rename(copy)
                self._forget(version)
        except (OSError, FxgptError) as error:
            _LOG.warning("%s could not be copied for days without a registry: %s", version.label, error)
            shutil.rmtree(part, ignore_errors=True)

    def _forget(self, newest: ModelVersion) -> None:
        """Delete copies of versions that hold no alias any more."""
        wanted = {self._copy(version) for version in self._noted(newest.symbol).values()} | {self._copy(newest)}
        for folder in (self._folder / newest.symbol).iterdir():
            if folder.is_dir() and not folder.name.startswith(".") and folder not in wanted:
                shutil.rmtree(folder, ignore_errors=True)

    def _copy(self, version: ModelVersion) -> Path:
        # The run tells versions of equal numbers apart, as after a registry that began anew.
        return self._folder / version.symbol / f"{version.version}-{version.run_id[:12]}"

    def _noted(self, symbol: str) -> dict[str, ModelVersion]:
        try:
            noted = json.loads((self._folder / symbol / _NOTE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {alias: replace(ModelVersion(**v), aliases=tuple(v["aliases"])) for alias, v in noted.items()}

    def _tell(self, symbol: str, what: str, said: str, complain: Complaint | None) -> None:
        _LOG.warning("%s", said)
        if complain is not None:
            complain(said)
        now = self._clock.now()
        title = f"{symbol}: the model registry cannot be used"
        alert = Alert("registry", symbol, f"{what} {now:%Y-%m-%d}", "error", title, said, now)
        with suppress(StoreError):  # the alerts sensor tells of a database that is away
            record_alert(self._database, alert, _REPEATS)
