"""The verbs that show results: parseable JSON on a materialised home, and one sentence where there is nothing yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from fxgpt_core.common.errors import BadInputError
from fxgpt_pipeline.cli.main import run
from fxgpt_pipeline.stages import walk_forward
from tests.pipeline.small_home import FAMILIES, SYMBOL, SmallHome, empty_home

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fxgpt(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Run `fxgpt …` in this process: exit code, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def answer(fxgpt: Shell, *arguments: str) -> Any:
    """Return what a command answers as JSON."""
    code, out, err = fxgpt(*arguments, "--json")
    assert code == 0, err
    return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_forecast(fxgpt: Shell, clone: SmallHome) -> None:
    made = answer(fxgpt, "forecast", SYMBOL)
    candles = clone.lineage().candles()
    assert made["close"] == candles.close[-1]
    assert [row["horizon"] for row in made["forecasts"]] == [60, 240]
    for row in made["forecasts"]:
        levels = [row[name] for name in row if name.startswith("q")]
        assert levels == sorted(levels)
        assert levels[0] < 0 < levels[-1]
        assert 0 <= row["probability_up"] <= 1
        assert row["decided_at"].startswith(str(candles.known_at[-1])[:19])


def test_forecast_of_a_family_and_a_version(fxgpt: Shell, clone: SmallHome) -> None:
    versions = {row["family"]: row["version"] for row in answer(fxgpt, "models", "list", SYMBOL)}
    by_family = answer(fxgpt, "forecast", "gbp/usd", "--model", "ridge")["forecasts"]
    by_version = answer(fxgpt, "forecast", SYMBOL, "--model", versions["ridge"])["forecasts"]
    assert {row["family"] for row in by_family} == {"ridge"}
    assert [row["q0.5"] for row in by_family] == [row["q0.5"] for row in by_version]
    code, _, err = fxgpt("forecast", SYMBOL, "--model", "99")
    assert code == 2
    assert "99" in err


def test_evaluate_backtest_and_drift(fxgpt: Shell, base: SmallHome) -> None:
    evaluation = answer(fxgpt, "evaluate", SYMBOL)
    assert evaluation["symbol"] == SYMBOL
    assert {score["family"] for score in evaluation["scores"]} == set(FAMILIES)
    assert answer(fxgpt, "backtest", SYMBOL).keys() == set(FAMILIES)
    assert answer(fxgpt, "drift", SYMBOL)["verdict"]["symbol"] == SYMBOL


def test_models(fxgpt: Shell, base: SmallHome) -> None:
    versions = answer(fxgpt, "models", "list", SYMBOL)
    assert {row["family"] for row in versions} == set(FAMILIES)
    (champion,) = [row for row in versions if "champion" in row["aliases"]]
    shown = answer(fxgpt, "models", "show", SYMBOL)
    assert shown["version"] == f"{SYMBOL}/{champion['version']}"
    assert shown["fingerprint"] == champion["tags"]["fingerprint"]


@pytest.mark.parametrize("verb", ["evaluate", "backtest", "drift", "forecast", "models list"])
def test_tables_for_people(fxgpt: Shell, clone: SmallHome, verb: str) -> None:
    code, out, err = fxgpt(*verb.split(), SYMBOL)
    assert code == 0, err
    assert out.strip()


def test_promote_and_rollback(fxgpt: Shell, clone: SmallHome) -> None:
    before = answer(fxgpt, "models", "show", SYMBOL)["version"]
    other = next(v["version"] for v in answer(fxgpt, "models", "list", SYMBOL) if not v["aliases"])
    code, out, err = fxgpt("models", "promote", SYMBOL, other, "--reason", "to see")
    assert code == 0, err
    assert f"{SYMBOL}/{other}" in out
    assert answer(fxgpt, "models", "show", SYMBOL)["version"] == f"{SYMBOL}/{other}"
    assert answer(fxgpt, "models", "show", SYMBOL, "previous")["version"] == before
    assert fxgpt("models", "rollback", SYMBOL)[0] == 0
    assert answer(fxgpt, "models", "show", SYMBOL)["version"] == before


def test_materialize_skips_what_is_up_to_date(fxgpt: Shell, base: SmallHome) -> None:
    code, out, err = fxgpt("materialize", "--symbol", SYMBOL)
    assert code == 0, err
    assert "nothing changed" in out
    code, _, err = fxgpt("materialize", "walk_forward/rigde", "--symbol", SYMBOL)
    assert code == 2
    assert "/".join(walk_forward("ridge")) in err


def test_blocked_data_are_said_in_one_sentence(fxgpt: Shell, clone: SmallHome) -> None:
    clone.configure("pipeline.yaml", {"quality": {"max_missing_share": 0.0001}})
    code, _, err = fxgpt("materialize", "--symbol", SYMBOL)
    assert code == 1
    said = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(said) == 1
    assert "market/candles: the check data_quality failed" in said[0]


@pytest.mark.parametrize("verb", ["forecast", "evaluate", "backtest", "drift", "models list", "models show", "retrain"])
def test_unconfigured_symbol_is_bad_input(fxgpt: Shell, base: SmallHome, verb: str) -> None:
    code, out, err = fxgpt(*verb.split(), "AUDUSD")
    assert code == BadInputError.exit_code == 2
    assert out == ""
    assert err.startswith("Error: AUDUSD is not configured")
    assert "fxgpt assets add AUDUSD" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("verb", ["forecast", "evaluate", "backtest", "drift"])
def test_before_anything_is_materialised_it_says_what_to_do(
    fxgpt: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    empty_home(tmp_path).enter(monkeypatch)
    code, out, err = fxgpt(*verb.split(), SYMBOL)
    assert code == 1, err
    assert out == ""
    assert "fxgpt materialize" in err
    assert len(err.strip().splitlines()) == 1


def test_two_commands_do_not_work_on_one_symbol(fxgpt: Shell, base: SmallHome) -> None:
    with FileLock(base.home.root / f".{SYMBOL}.run.lock"):
        code, _, err = fxgpt("materialize", "--symbol", SYMBOL)
    assert code == 1
    assert f"Another fxgpt command is working on {SYMBOL}" in err
