"""Backtests of the pipeline are counted as they are tried, whatever bars are added, and judged when they are shown."""

from __future__ import annotations

import json

import pytest

from fxgpt_core.store.trials import counted_trials
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.evaluating import backtest_family, backtest_name
from fxgpt_pipeline.reporting import write_backtest
from fxgpt_pipeline.scrutiny import key_figures, verdict_now
from fxgpt_pipeline.stages import calibrated
from tests.pipeline.small_home import FAMILIES, SYMBOL, SmallHome, later_bars
from tests.pipeline.test_backtest_currency import give_direction


def test_what_was_tried_is_counted_once_and_shown_when_more_is_tried(
    clone: SmallHome, capsys: pytest.CaptureFixture[str]
) -> None:
    lineage = clone.lineage()
    give_direction(lineage, "ridge")
    database, documents = lineage.workspace.database, lineage.workspace.documents
    before = len(counted_trials(database, SYMBOL))
    assert before == len(FAMILIES)  # the lineage counted one a family, those that traded nothing too
    for _ in range(2):
        backtest_family(clone.lineage(), "ridge")
    assert len(counted_trials(database, SYMBOL)) == before
    first = documents.read(backtest_name("ridge"), SYMBOL)
    assert first["random_entries"]["draws"] == 200
    assert [rule["name"] for rule in first["comparisons"]][:2] == ["buy and hold", "sell and hold"]
    assert set(first["groups"]) >= {"session", "side", "exit"}
    assert key_figures(first)["trials"] == before

    clone.configure("pipeline.yaml", {"backtest": {"stop_loss": 2.0}})
    stopped = clone.lineage()
    backtest_family(stopped, "ridge")
    assert len(counted_trials(database, SYMBOL)) == before + 1
    assert first["luck"]["tried"] == before
    now = verdict_now(lineage, "ridge", first)
    assert now.luck is not None
    assert now.luck.tried == before + 1
    assert f"{before + 1} strategies have been tried" in now.sentences[0]

    assert run(("backtest", SYMBOL, "--json")) == 0
    answered = json.loads(capsys.readouterr().out)["ridge"]
    assert answered["luck"]["tried"] == before + 1
    assert answered["verdict"][0].startswith(f"{before + 1} strategies")
    assert run(("backtest", SYMBOL)) == 0
    shown = capsys.readouterr().out
    assert "best of chance" in shown
    assert "buy and hold" in shown
    assert run(("backtest", SYMBOL, "--report", "ridge")) == 0
    page = clone.home.reports / SYMBOL / "backtest_ridge.html"
    assert str(page) in capsys.readouterr().out.replace("\n", "")
    assert "Is it luck?" in page.read_text()
    assert run(("backtest", SYMBOL, "--report", "no_such_model")) == 2


def test_a_model_that_leans_neither_way_has_a_page_that_says_so(clone: SmallHome) -> None:
    lineage = clone.lineage()
    text = write_backtest(lineage, "ewma").read_text()
    assert "Nothing was traded: n/a: no direction" in text
    assert key_figures(lineage.workspace.documents.read(backtest_name("ewma"), SYMBOL)) == {}


def test_more_bars_are_no_new_strategy_and_other_settings_are(clone: SmallHome) -> None:
    key = calibrated("ridge")
    before, made = clone.lineage().recipe(key), clone.lineage().fingerprint(key)
    clone.bring(later_bars(24))
    assert clone.lineage().fingerprint(key) != made
    assert clone.lineage().recipe(key) == before
    clone.configure("pipeline.yaml", {"walk_forward": {"embargo_days": 3.0}})
    assert clone.lineage().recipe(key) != before
