"""The autoencoder of a candidate as a stage: made once, versioned, shown, and found by the candidate's fit."""

from pathlib import Path
from typing import Any

import pytest

from fxgpt_core.evaluation.splits import final_split
from fxgpt_core.models.ldm4ts.vae_fit import PictureLesson
from fxgpt_core.models.registry import FAMILIES
from fxgpt_core.training.plan import plan_training
from fxgpt_pipeline.groundwork import NOTHING, make_groundwork, place_groundwork
from fxgpt_pipeline.outputs import groundwork_path, present
from fxgpt_pipeline.stages import candidate, groundwork
from tests.models.ldm4ts_data import TINY
from tests.pipeline.small_home import FAMILIES as FAMILIES_OF_HOME
from tests.pipeline.small_home import SYMBOL, SmallHome, shared_home

ENTRY, KEY = FAMILIES["ldm4ts"], groundwork("ldm4ts", "autoencoder")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SmallHome:
    """A clone of the session's home with the family switched on and its groundwork made."""
    home = shared_home(tmp_path_factory).clone(tmp_path_factory.mktemp("groundwork") / "clone")
    home.configure(f"assets/{SYMBOL}.yaml", {"models": {"ldm4ts": TINY}})
    with pytest.MonkeyPatch.context() as monkeypatch:
        outcome = home.enter(monkeypatch).materialise([KEY])
    assert outcome.success, outcome.error
    return home


@pytest.fixture
def home(made: SmallHome, monkeypatch: pytest.MonkeyPatch) -> SmallHome:
    return made.enter(monkeypatch)


def test_the_candidate_stands_on_it_and_folds_do_not(home: SmallHome) -> None:
    stages = home.lineage().stages
    assert KEY in stages[candidate("ldm4ts")].deps
    assert [key for key, stage in stages.items() if KEY in stage.deps] == [candidate("ldm4ts")]


def test_it_is_a_version_that_no_reader_of_models_meets(home: SmallHome) -> None:
    lineage = home.lineage()
    assert present(lineage, KEY)
    assert "models/ldm4ts/autoencoder" not in home.stale()
    assert lineage.workspace.documents.read("groundwork_ldm4ts_autoencoder", SYMBOL) == {
        "version": f"fxgpt.{SYMBOL}.ldm4ts.autoencoder/1"
    }
    assert {version.family for version in lineage.workspace.registry.versions(SYMBOL)} == set(FAMILIES_OF_HOME)
    again = make_groundwork(lineage, ENTRY, ENTRY.groundwork[0], "run", lambda *_: None)
    assert again.fit is None
    assert again.version is not None
    assert again.version.version == "1"


def test_its_page_shows_windows_with_their_pictures(home: SmallHome) -> None:
    page = groundwork_path(home.lineage(), "ldm4ts", "autoencoder").read_text()
    assert page.count("<image") == 18  # three windows, three encodings, before and after
    assert "unexplained gaf" in page


def test_the_fit_of_a_candidate_finds_it(home: SmallHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs: list[int] = []
    judge = PictureLesson.validate
    monkeypatch.setattr(PictureLesson, "validate", lambda lesson, parts: epochs.append(1) or judge(lesson, parts))
    lineage = home.lineage()
    place_groundwork(lineage, ENTRY, tmp_path)
    dataset, config = lineage.dataset(), lineage.family_config("ldm4ts")
    dataset = dataset.with_split(final_split(dataset, lineage.settings.walk_forward))
    plan = plan_training(lineage.settings.seed, tmp_path)
    ENTRY.create(config).fit(dataset, plan)
    assert not epochs


def test_a_published_autoencoder_leaves_nothing_to_make(
    made: SmallHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = made.clone(tmp_path / "clone").enter(monkeypatch)
    small_autoencoder().save_pretrained(tmp_path / "published")
    published = {"ldm4ts": {"latents": {"autoencoder": str(tmp_path / "published")}}}
    clone.configure(f"assets/{SYMBOL}.yaml", {"models": published})
    lineage = clone.lineage()
    left = make_groundwork(lineage, ENTRY, ENTRY.groundwork[0], "run", lambda *_: None)
    assert (left.version, left.fit, left.page) == (None, None, None)
    assert present(lineage, KEY)
    assert not groundwork_path(lineage, "ldm4ts", "autoencoder").exists()  # of another configuration
    assert lineage.workspace.documents.read("groundwork_ldm4ts_autoencoder", SYMBOL) == {"version": NOTHING}
    place_groundwork(lineage, ENTRY, tmp_path / "fit")
    assert not (tmp_path / "fit").exists()


def small_autoencoder() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(block_out_channels=(8,), norm_num_groups=4)
