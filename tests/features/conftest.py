"""The stored lake, made once a session."""

import shutil
from pathlib import Path

import pytest

from fxgpt_core.market.lake import Lake


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake that tests copy; nobody may change it."""
    from tests.features.stored_lake import fill

    return fill(tmp_path_factory.mktemp("filled") / "lake")


@pytest.fixture
def lake(filled: Path, tmp_path: Path) -> Lake:
    """A copy of the filled lake, to be changed at will."""
    return Lake(shutil.copytree(filled, tmp_path / "lake"))
