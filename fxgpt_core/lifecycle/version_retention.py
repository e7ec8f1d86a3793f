"""How many versions of a model are kept: the newest of every family, and whoever holds an alias (SPEC 22)."""

from __future__ import annotations

from collections import Counter

from fxgpt_core.lifecycle.alias_moves import moving
from fxgpt_core.lifecycle.registry import ModelRegistry, ModelVersion
from fxgpt_core.store.database import Database

KEPT = 5
"""Newest versions that stay, of each family: one training registers every family, so fewer would keep no history."""


def superfluous(versions: list[ModelVersion], keep: int = KEPT) -> list[ModelVersion]:
    """Return the versions that go, oldest first; `versions` come newest first."""
    seen: Counter[str] = Counter()
    gone = []
    for version in versions:
        seen[version.family] += 1
        if seen[version.family] > keep and not version.aliases:
            gone.append(version)
    return gone[::-1]


def forget_versions(registry: ModelRegistry, database: Database, symbol: str, keep: int = KEPT) -> list[ModelVersion]:
    """Delete superfluous versions with their artefacts, while no alias of the symbol can move; return which.

    What they forecast and how they were trained stays in the operational database, their runs stay in MLflow. Killed
    half-way it goes on where it was: an artefact is deleted before its version.
    """
    with moving(registry, database, symbol):
        gone = superfluous(registry.versions(symbol), keep)
        for version in gone:
            registry.delete(version)
    return gone
