"""`Home`: the one state directory (`FXGPT_HOME`) and where everything in it lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Home:
    """Locations under one state directory; nothing of fxgpt is written anywhere else."""

    root: Path

    @classmethod
    def from_environment(cls) -> Home:
        """Return the home named by `FXGPT_HOME`, by default `.fxgpt/` in the checkout; always absolute."""
        return cls(Path(os.environ.get("FXGPT_HOME") or CHECKOUT / ".fxgpt").expanduser().resolve())

    @property
    def lake(self) -> Path | str:
        """Tables and documents: `FXGPT_LAKE` (a path, or an fsspec URL, which comes back as text), else in this home.

        A lake of its own can be shared by several homes; they find the same bars, features and forecasts there.
        """
        named = os.environ.get("FXGPT_LAKE")
        if not named:
            return self.root / "lake"
        return named if "://" in named else Path(named).expanduser().resolve()

    @property
    def database(self) -> Path:
        return self.root / "fxgpt.db"

    @property
    def database_url(self) -> str:
        """URL of the operational database: `FXGPT_DATABASE_URL`, else SQLite in this home."""
        return os.environ.get("FXGPT_DATABASE_URL") or f"sqlite:///{self.database}"

    @property
    def mlflow_uri(self) -> str:
        """MLflow tracking and registry store: `MLFLOW_TRACKING_URI`, else SQLite in this home."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def inbox(self) -> Path:
        """Files of bars dropped here are imported by the daemon."""
        return self.root / "inbox"

    @property
    def scratch(self) -> Path:
        """Checkpoints and model folders of work in progress; may be deleted when nothing runs."""
        return self.root / "scratch"

    def create(self) -> Home:
        """Make the folders that must exist before anything is written; safe to call again."""
        for folder in (self.lake, self.artifacts, self.dagster, self.reports, self.scratch, self.inbox):
            if isinstance(folder, Path):
                folder.mkdir(parents=True, exist_ok=True)
        return self


def config_dir() -> Path:
    """Return the configuration folder: `FXGPT_CONFIG_DIR`, by default `configs/` of the checkout."""
    return Path(os.environ.get("FXGPT_CONFIG_DIR") or CHECKOUT / "configs").expanduser().resolve()
