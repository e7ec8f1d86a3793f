"""One materialised home for the session, and clones of it for tests that change something."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.small_home import SmallHome, shared_home


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> SmallHome:
    """The session's materialised home; look, don't touch."""
    return shared_home(tmp_path_factory).enter(monkeypatch)


@pytest.fixture
def clone(base: SmallHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallHome:
    """A copy of the materialised home, to be changed at will."""
    return base.clone(tmp_path / "clone").enter(monkeypatch)
