"""kill -9 while a candidate is trained: it is trained once more at most, registered once, and recorded once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from fxgpt_core.common.progress import silent
from fxgpt_core.lifecycle.registry import CHAMPION
from fxgpt_core.models.registry import FAMILIES
from fxgpt_core.store.models import Checkpoint, Model
from fxgpt_core.store.trainings import trainings
from fxgpt_pipeline.training import train_candidate
from tests.lifecycle.small_registry import dies, killed_at
from tests.pipeline.small_home import SYMBOL, SmallHome

ENTRY = FAMILIES["ridge"]


def train_and_die(root: Path, point: str, number: int) -> None:
    # The server that forked this process knows the environment of the test that it was started in.
    private = {name for name in os.environ if name.startswith(("FXGPT_", "MLFLOW_"))}
    for name in private:
        del os.environ[name]
    os.environ.update(SmallHome(root).environment)
    killed_at(point, number)
    train_candidate(SmallHome(root).lineage(), ENTRY, "killed", silent)


def train_again(home: SmallHome, point: str, number: int, registered: bool) -> None:
    home.configure("ridge/default.yaml", {"evidence_errors": 0.6})
    lineage = home.lineage()
    workspace = lineage.workspace
    before = workspace.registry.versions(SYMBOL)
    dies(train_and_die, home.root, point, number)
    champion = workspace.registry.holder(SYMBOL, CHAMPION)
    made, fit = train_candidate(lineage, ENTRY, "again", silent)
    assert (fit is None) == registered, "what was registered is not trained again"
    after = workspace.registry.versions(SYMBOL)
    assert len(after) == len(before) + 1
    assert workspace.registry.holder(SYMBOL, CHAMPION) == champion
    (row,) = [one for one in trainings(workspace.database, SYMBOL) if one.name == made.tags["fingerprint"]]
    assert row.model is not None
    assert (row.status, row.model.mlflow_version) == ("done", made.version)
    with workspace.database.reading() as session:
        mine = sa.select(sa.func.count()).select_from(Model).where(Model.mlflow_version == made.version)
        kept = sa.select(sa.func.count()).select_from(Checkpoint).where(Checkpoint.model_id == row.model.id)
        assert (session.scalar(mine), session.scalar(kept)) == (1, 1)


def test_a_training_that_is_killed_after_its_fit_is_registered_and_recorded_once(clone: SmallHome) -> None:
    train_again(clone, "before registry.register", 1, registered=False)


@pytest.mark.deep
@pytest.mark.parametrize(
    ("point", "number", "registered"),
    [
        ("before training.begin_training", 1, False),
        ("after training.begin_training", 1, False),
        ("before training.save_bundle", 1, False),
        ("before client.create_model_version", 1, False),
        ("after client.create_model_version", 1, True),
        ("before training.record_training", 1, True),
        ("after training.record_training", 1, True),
    ],
)
def test_a_training_that_is_killed_anywhere_is_registered_and_recorded_once(
    clone: SmallHome, point: str, number: int, registered: bool
) -> None:
    train_again(clone, point, number, registered)
