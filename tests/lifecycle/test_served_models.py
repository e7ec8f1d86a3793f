"""The champion forecasts on while the registry is away or its artefact is damaged, and a person is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from fxgpt_core.common.errors import StoreError
from fxgpt_core.lifecycle.registry import CHAMPION, PREVIOUS, ModelRegistry
from fxgpt_core.lifecycle.served_models import ServedModels
from fxgpt_core.store.alerts import alerts_between
from fxgpt_core.store.clock import FixedClock
from tests.lifecycle.small_registry import NOON, SYMBOL, SmallRegistry, smoke

HOUR = timedelta(hours=1)


@pytest.fixture
def home(tmp_path: Path) -> SmallRegistry:
    """Version 1 serves, 2 waits."""
    made = SmallRegistry(tmp_path).prepare(2)
    made.promote("1")
    return made


def served(home: SmallRegistry, registry: ModelRegistry | None = None) -> ServedModels:
    return ServedModels(registry or home.registry, home.database, FixedClock(NOON))


def told(home: SmallRegistry) -> list[str]:
    rows = alerts_between(home.database, NOON - HOUR, NOON + HOUR)
    assert {(row.kind, row.severity) for row in rows} <= {("registry", "error")}
    return [row.body for row in rows]


def test_without_the_registry_the_last_known_champion_forecasts_on(home: SmallRegistry) -> None:
    (home.root / "file").write_text("no database")
    away = ModelRegistry(f"sqlite:///{home.root / 'file' / 'mlflow.db'}", home.root / "mlartifacts")
    with pytest.raises(StoreError, match="Cannot read the model registry"):
        served(home, away).holders(SYMBOL)
    assert told(home) == []
    champion = served(home).holders(SYMBOL)[CHAMPION]
    served(home).bundle(champion)
    heard: list[str] = []
    for _ in range(2):
        held = served(home, away).holders(SYMBOL, heard.append)
        assert dict(held) == {CHAMPION: champion}
        smoke(served(home, away).bundle(held[CHAMPION]))
    assert "EURUSD/1" in heard[0]
    (away_said, artefact_said) = sorted(told(home), key=lambda body: "copy" in body)
    assert "last known models forecast on: champion EURUSD/1" in away_said
    assert "Its copy forecasts on" in artefact_said


@pytest.mark.parametrize("damage", ["missing", "checksum"])
def test_a_champion_whose_artefact_is_damaged_forecasts_from_its_copy(home: SmallRegistry, damage: str) -> None:
    models = served(home)
    champion = models.holders(SYMBOL)[CHAMPION]
    models.bundle(champion)
    file = next(f for f in home.registry.folder(champion).rglob("*") if f.parent.name == "forecaster" and f.is_file())
    file.unlink() if damage == "missing" else file.write_bytes(file.read_bytes() + b"#")
    smoke(models.bundle(champion))
    (said,) = told(home)
    assert f"{file.name} missing or damaged" in said
    other = home.registry.get(SYMBOL, "2")
    damaged = next(f for f in home.registry.folder(other).rglob("*") if f.parent.name == "forecaster" and f.is_file())
    damaged.unlink()
    with pytest.raises(StoreError, match="missing or damaged"):
        models.bundle(other)


def test_copies_are_those_of_versions_that_hold_an_alias(home: SmallRegistry) -> None:
    home.register("training 9")
    models = served(home)
    for hours, version in enumerate(("2", "3")):
        home.promote(version, hours + 1)
        for holder in models.holders(SYMBOL).values():
            models.bundle(holder)
    held = models.holders(SYMBOL)
    assert (held[CHAMPION].version, held[PREVIOUS].version) == ("3", "2")
    copies = {path.name.split("-")[0] for path in (home.root / "serving" / SYMBOL).iterdir() if path.is_dir()}
    assert copies == {"2", "3"}
    models.bundle(home.registry.get(SYMBOL, "1"))
    assert len([path for path in (home.root / "serving" / SYMBOL).iterdir() if path.is_dir()]) == 2
