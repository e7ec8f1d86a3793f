"""A private home and configuration folder, and the command line as a function."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fxgpt_core.store.paths import CHECKOUT
from fxgpt_pipeline.cli.main import run


@dataclass(frozen=True)
class Answer:
    """What one command line gave."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state directory, and a copy of the shipped configuration."""
    shutil.copytree(CHECKOUT / "configs", tmp_path / "configs")
    monkeypatch.setenv("FXGPT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FXGPT_CONFIG_DIR", str(tmp_path / "configs"))
    monkeypatch.delenv("FXGPT_DATABASE_URL", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "home"


@pytest.fixture
def fxgpt(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run `fxgpt …` in this process."""

    def call(*arguments: object) -> Answer:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call
