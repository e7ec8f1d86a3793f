"""Old versions go with their files; the newest of every family and whoever holds an alias stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.lifecycle.registry import ModelVersion
from fxgpt_core.lifecycle.version_retention import forget_versions, superfluous
from tests.lifecycle.small_registry import SYMBOL, SmallRegistry


def version(number: int, family: str, *aliases: str) -> ModelVersion:
    return ModelVersion(SYMBOL, str(number), family, aliases, {}, "run")


def test_the_newest_of_each_family_and_aliased_ones_stay() -> None:
    found = [version(9 - n, "ridge", *(("previous",) if n == 7 else ())) for n in range(8)] + [version(1, "ewma")]
    assert [one.version for one in superfluous(found, keep=5)] == ["3", "4"]


def test_a_version_goes_with_its_files_and_the_champion_stays(tmp_path: Path) -> None:
    home = SmallRegistry(tmp_path).prepare(3)
    home.promote("1")
    registry = home.registry
    folders = {one.version: registry.folder(one) for one in registry.versions(SYMBOL)}
    assert [one.version for one in forget_versions(registry, home.database, SYMBOL, keep=1)] == ["2"]
    assert {number for number, folder in folders.items() if folder.exists()} == {"1", "3"}
    with pytest.raises(BadInputError, match="registered are 3, 1"):
        registry.get(SYMBOL, "2")
    home.promote("3", hours=1)
    assert home.champion() == "3"
    assert forget_versions(registry, home.database, SYMBOL, keep=1) == []
    assert forget_versions(registry, home.database, "USDJPY") == []
