"""What a symbol's splits look like to people and programs; walk-forward forecasts are made on exactly these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fxgpt_core.evaluation.splits import walk_forward
from fxgpt_core.models.walk_forward import read_walk_forward
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.splitting import labels_of, split_document, walk_forward_timeline, write_split_page
from tests.pipeline.small_home import SYMBOL, SmallHome, empty_home


def test_document_names_the_spans_that_forecasts_were_made_for(base: SmallHome) -> None:
    lineage = base.lineage()
    document = split_document(lineage)
    stored = read_walk_forward(lineage.workspace.lake, SYMBOL, "ewma")
    found = [one["test_rows"] for one in document["walk_forward"]]
    assert found == np.bincount(stored.fold).tolist()
    first = document["walk_forward"][0]
    assert first["test"][0] == f"{stored.forecast.decided_at[0].astype('datetime64[m]')}Z"
    assert first["trained_until"] < first["test"][0]
    assert set(first["train_labels"]) == {"60", "240"}
    assert len(document["combinatorial"]["splits"]) == 10
    assert np.array(document["combinatorial"]["paths"]).shape == (4, 5)


def test_labels_alone_give_the_splits_of_the_whole_dataset(base: SmallHome) -> None:
    lineage = base.lineage()
    config = lineage.settings.walk_forward
    for light, full in zip(
        walk_forward(labels_of(lineage), config), walk_forward(lineage.dataset(), config), strict=True
    ):
        for name in ("train", "validation", "test", "purged", "embargoed"):
            np.testing.assert_array_equal(getattr(light, name), getattr(full, name))


def test_page_draws_both_kinds_and_says_what_was_cut_by_what(clone: SmallHome) -> None:
    lineage = clone.lineage()
    assert "expanding walk-forward by share of bars, the first 50% only train" in walk_forward_timeline(lineage)
    page = write_split_page(lineage).read_text()
    assert page.count("<svg") == page.count("<table") == 2
    assert "2 of 5 groups tested, 10 splits, 4 paths" in page
    clone.configure("pipeline.yaml", {"walk_forward": {"spans": "calendar"}})
    assert "too short a history for months" in walk_forward_timeline(clone.lineage())
    clone.configure("pipeline.yaml", {"walk_forward": {"train_months": 3, "test_months": 1, "least_folds": 1}})
    assert "by months, 3 months to train, 1 to test" in walk_forward_timeline(clone.lineage())


def test_verb_lists_and_draws(clone: SmallHome, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["splits", SYMBOL]) == 0
    said = capsys.readouterr().out
    assert "fold0" in said
    assert "test3+4" in said
    assert (clone.home.reports / SYMBOL / "splits.html").exists()


def test_before_anything_is_materialised_the_verb_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty_home(tmp_path).enter(monkeypatch)
    assert run(["splits", SYMBOL]) == 1
    assert "fxgpt import FILE" in capsys.readouterr().err
