"""`fxgpt evaluate` says what is stored, to a person and to a program; seeds are compared beside it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_pipeline import seeding
from fxgpt_pipeline.cli.evaluate import evaluate
from fxgpt_pipeline.seeding import repeat_with_seeds
from tests.pipeline.small_home import FAMILIES, SYMBOL, SmallHome


def run(*words: str) -> str:
    found = CliRunner().invoke(evaluate, list(words), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_json_has_the_numbers_of_the_stored_evaluation(base: SmallHome) -> None:
    document = base.lineage().workspace.documents.read("evaluation", SYMBOL)
    printed = json.loads(run(SYMBOL, "--json"))
    own = {"stale", "alarms", "calibration", "seeds"}
    assert {name: value for name, value in printed.items() if name not in own} == document
    stored = Evaluation.from_dict(document)
    again = Evaluation.from_dict({name: value for name, value in printed.items() if name not in own})
    assert again == stored
    ridge = next(one for one in printed["scores"] if (one["family"], one["horizon"]) == ("ridge", 60))
    assert [skill["baseline"] for skill in ridge["skills"]] == list(stored.baselines)
    for name in ("crps", "log_score", "pit_ks", "pit_p", "rmse", "mae", "mape", "r2", "pinball"):
        assert ridge[name] is not None
    assert printed["alarms"] == []
    assert printed["stale"] is False


def test_figures_of_other_settings_than_now_are_called_outdated(clone: SmallHome) -> None:
    assert "Outdated" not in run(SYMBOL)
    clone.configure("pipeline.yaml", {"evaluation": {"confidence": 0.9}})
    assert json.loads(run(SYMBOL, "--json"))["stale"] is True
    assert f"Outdated: bars, settings or code have changed since; `fxgpt materialize --symbol {SYMBOL}`" in run(SYMBOL)


def test_tables_show_every_baseline_errors_and_contradictions(base: SmallHome) -> None:
    printed = run(SYMBOL)
    for part in ("skill against every baseline", "log score", "PIT KS", "training rows", "contradict each other"):
        assert part in printed


def test_what_training_rows_flatter_is_measured_for_every_family_and_horizon(base: SmallHome) -> None:
    stored = Evaluation.from_dict(base.lineage().workspace.documents.read("evaluation", SYMBOL))
    assert len(stored.degradation) == len(FAMILIES) * len(stored.horizons)
    gaps = {(one.family, one.horizon): one.gap for one in stored.degradation}
    assert max(gap for (family, _), gap in gaps.items() if family == "ridge") > 0
    assert all(abs(gap) < 0.02 for (family, _), gap in gaps.items() if family != "ridge"), (
        "they learn no labels by heart"
    )


def test_a_family_without_chance_says_so_after_a_second_seed_and_the_official_forecasts_stay(clone: SmallHome) -> None:
    lake = clone.home.lake
    before = {path: path.read_bytes() for path in lake.glob("walk_forward/**/*.parquet")}
    spread = json.loads(run(SYMBOL, "--seeds", "3", "--family", "ridge", "--json"))
    assert spread["deterministic"]
    assert spread["seeds"] == [20240301, 20240302]
    assert spread["deviation"]["pooled"] == 0.0
    assert {path.relative_to(lake).parts[0] for path in lake.glob("walk_forward_seed_*/**/*.parquet")} == {
        "walk_forward_seed_20240302"
    }
    assert {path: path.read_bytes() for path in lake.glob("walk_forward/**/*.parquet")} == before
    assert clone.stale() == set()
    assert json.loads(run(SYMBOL, "--json"))["seeds"] == {"ridge": spread}
    assert "every seed gives the same forecasts" in run(SYMBOL)


def test_every_seed_is_calibrated_and_scored_like_the_official_forecasts(
    clone: SmallHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = Evaluation.from_dict(clone.lineage().workspace.documents.read("evaluation", SYMBOL))
    spread = repeat_with_seeds(clone.lineage(), "ewma", 2, lambda *_: None)
    assert spread.skills["pooled"] == pytest.approx([official.pooled_of("ewma").skill.value] * 2)
    monkeypatch.setattr(seeding, "same_forecasts", lambda left, right: False)  # as if its seed decided something
    assert repeat_with_seeds(clone.lineage(), "ewma", 3, lambda *_: None).seeds == (20240301, 20240302, 20240303)


def test_seeds_need_a_family_of_the_symbol_and_an_evaluation_that_is_up_to_date(clone: SmallHome) -> None:
    with pytest.raises(BadInputError, match=r"go together"):
        run(SYMBOL, "--seeds", "3")
    with pytest.raises(BadInputError, match=rf"no family 'sssd': it has {', '.join(sorted(FAMILIES)[:1])}"):
        run(SYMBOL, "--seeds", "3", "--family", "sssd")
    clone.configure("pipeline.yaml", {"seed": 7})
    with pytest.raises(DataError, match=r"materialize"):
        run(SYMBOL, "--seeds", "3", "--family", "ridge")
