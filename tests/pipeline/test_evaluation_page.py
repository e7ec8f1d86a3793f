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
    # There is no calendar in the lake, hence no releases.
    assert {group.by for group in evaluation.groups} == {"hour", "session", "volatility", "regime"}
    assert all(evaluation.pooled_of(name).relative_energy is not None for name in FAMILIES)
    assert "in set" in [column.header for column in skill_table(evaluation).columns]


def test_report_shows_the_confidence_set_and_where_skill_is(base: SmallHome) -> None:
    page = (base.home.reports / SYMBOL / "overview.html").read_text()
    assert "model confidence set" in page
    assert "By hour of the decision" in page
    assert "By session" in page
    assert "london, new york" in page
    assert "By volatility before the decision" in page
    assert "By scheduled releases" not in page


def test_report_draws_the_folds_and_shows_skill_against_every_baseline(base: SmallHome) -> None:
    page = (base.home.reports / SYMBOL / "overview.html").read_text()
    assert '<figure class="splits"' in page
    assert page.count("fold0") >= 1
    evaluation = stored(base)
    against = evaluation.pooled_of("ridge").against("ewma")
    assert against is not None
    assert f"{against.value:+.2%} <small>p {against.p_value:.3f}</small>" in page


def test_report_shows_how_models_do_over_the_newest_days(base: SmallHome) -> None:
    page, evaluation = (base.home.reports / SYMBOL / "overview.html").read_text(), stored(base)
    found = evaluation.lately("ridge", "ewma")
    assert found is not None
    assert f"The newest days: {evaluation.recent_since[:10]} to {evaluation.end[:8]}" in page
    assert f"{found.gain.value:+.2%} <small>p {found.p_value:.3f}</small>" in page


def test_report_shows_contradicting_horizons_and_autocorrelation_of_residuals(base: SmallHome) -> None:
    page = (base.home.reports / SYMBOL / "overview.html").read_text()
    assert "1h and 4h" in page
    assert "Autocorrelation of squared residuals" in page


def test_report_says_what_the_calibration_rests_on(base: SmallHome) -> None:
    page = (base.home.reports / SYMBOL / "overview.html").read_text()
    documents = base.lineage().workspace.documents
    found = documents.read(f"calibration_{documents.read('champion', SYMBOL)['champion_family']}", SYMBOL)
    assert f"Method {found['method']}" in page
    for horizon, rows, worth in zip(found["horizons"], found["rows"], found["effective_rows"], strict=True):
        assert f"{rows} rows worth {worth:.0f} independent ones at {horizon}" in page
