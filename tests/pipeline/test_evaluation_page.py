"""The stored evaluation and the report say who is in the confidence set and where skill is."""

from __future__ import annotations

from fxgpt_core.evaluation.result import Evaluation
from fxgpt_pipeline.cli.summary import skill_table
from tests.pipeline.small_home import FAMILIES, SYMBOL, SmallHome


def stored(home: SmallHome) -> Evaluation:
    return Evaluation.from_dict(home.lineage().workspace.documents.read("evaluation", SYMBOL))


def test_evaluation_names_the_best_families_and_breaks_scores_down(base: SmallHome) -> None:
    evaluation = stored(base)
    for horizon in evaluation.horizons:
        assert evaluation.confidence_set(horizon)
        hours = evaluation.grouped("hour", "ridge", horizon)
        assert sum(group.rows for group in hours) <= evaluation.of("ridge", horizon).rows
        assert len(evaluation.grouped("volatility", "ridge", horizon)) == 5
    assert {group.by for group in evaluation.groups} == {"hour", "session", "volatility"}  # no calendar in the lake
    assert all(evaluation.pooled_of(name).relative_energy is not None for name in FAMILIES)
    assert "in set" in [column.header for column in skill_table(evaluation).columns]


def test_report_shows_the_confidence_set_and_skill_by_session_and_volatility(base: SmallHome) -> None:
    page = (base.home.reports / SYMBOL / "overview.html").read_text()
    assert "model confidence set" in page
    assert "by session" in page
    assert "london, new york" in page
    assert "by volatility before the decision" in page
    assert "by scheduled releases" not in page
