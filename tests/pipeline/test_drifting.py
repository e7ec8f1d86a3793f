"""Drift of a symbol from its stores: references kept with model versions, what is judged, and looks that repeat."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fxgpt_core.features.dataset import Dataset
from fxgpt_core.lifecycle.champion_watch import CAUSE
from fxgpt_core.lifecycle.drift.stored import StoredReferences
from fxgpt_core.lifecycle.registry import CHAMPION
from fxgpt_core.store.alerts import Alert, record_alert
from fxgpt_pipeline import drifting
from fxgpt_pipeline.alerting import _about
from fxgpt_pipeline.cli.drift import drift
from fxgpt_pipeline.drifting import judge_drift
from fxgpt_pipeline.living import live_loop
from fxgpt_pipeline.outputs import report_path
from tests.pipeline.small_home import SYMBOL, SmallHome


def stored(home: SmallHome) -> dict[str, Any]:
    found: dict[str, Any] = home.lineage().workspace.documents.read("drift", SYMBOL)
    return found


def test_the_reference_is_built_once_and_kept_with_its_version(
    clone: SmallHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every look after the first finds it; a champion promoted by hand, of any family, gets one of its own."""
    built: list[str] = []
    whole = drifting.build_reference

    def counted(*values: Any, **named: Any) -> Any:
        made = whole(*values, **named)
        built.append(made.model)
        return made

    monkeypatch.setattr(drifting, "build_reference", counted)
    registry = clone.lineage().workspace.registry
    first = registry.holder(SYMBOL, CHAMPION)
    assert first is not None
    one, again = judge_drift(clone.lineage()), judge_drift(clone.lineage())
    assert one == again
    assert one.model == first.label
    assert built == [first.label]
    other = next(v for v in registry.versions(SYMBOL) if v.family == "ridge" and v.version != first.version)
    registry.set_alias(SYMBOL, CHAMPION, other.version)
    assert judge_drift(clone.lineage()).model == other.label
    registry.set_alias(SYMBOL, CHAMPION, first.version)
    assert judge_drift(clone.lineage()).parts == one.parts
    assert built == [first.label, other.label]


def test_predictions_residuals_and_pit_are_judged_out_of_sample(clone: SmallHome) -> None:
    clone.configure("pipeline.yaml", {"drift": {"min_windows": 4}})
    verdict = judge_drift(clone.lineage())
    assert {part.name for part in verdict.parts} >= {"features", "predictions", "residuals", "pit"}
    assert all(part.statistic is not None for part in verdict.parts)
    assert any("out of sample" in note for note in verdict.notes)


def test_without_fold_forecasts_the_verdict_says_what_it_does_not_judge(clone: SmallHome) -> None:
    """Forecasts of training rows by the model that learnt them are no substitute."""
    lineage = clone.lineage()
    champion = lineage.workspace.registry.holder(SYMBOL, CHAMPION)
    assert champion is not None
    keys = {"symbol": SYMBOL, "family": champion.family}
    lineage.workspace.lake.remove("walk_forward", keys, lineage.workspace.lake.parts("walk_forward", keys))
    verdict = judge_drift(lineage)
    assert {part.name for part in verdict.parts} & {"predictions", "residuals", "pit"} == set()
    assert any("not judged" in note for note in verdict.notes)


def test_a_damaged_reference_is_built_again(clone: SmallHome) -> None:
    lineage = clone.lineage()
    verdict = judge_drift(lineage)
    (arrays,) = clone.home.artifacts.rglob("reference.safetensors")
    arrays.write_bytes(arrays.read_bytes()[:-8])
    assert judge_drift(lineage) == verdict
    served = drifting._champion(lineage)
    assert served is not None
    assert StoredReferences(lineage.workspace.registry).find(served.version, arrays.parent.name) is not None


def test_too_little_history_is_said_and_not_judged(clone: SmallHome) -> None:
    clone.configure("pipeline.yaml", {"drift": {"min_windows": 400}})
    verdict = judge_drift(clone.lineage())
    assert not verdict.drifted
    assert "400 are needed" in verdict.summary
    content = json.loads((report_path(clone.lineage()).parent / "drift.json").read_text())
    assert content["verdict"]["note"]


def test_the_same_window_judged_twice_is_one_onset(clone: SmallHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that is repeated, after a crash say, stays an onset; a new champion's first one is an onset again."""
    monkeypatch.setattr(drifting, "drift_table", _tripled_from(clone.lineage().dataset(), 8))
    first = judge_drift(clone.lineage())
    assert first.onset
    assert judge_drift(clone.lineage()).onset
    assert stored(clone)["before"] is None or not stored(clone)["before"]["drifted"]
    assert (report_path(clone.lineage()).parent / "drift.html").exists()
    registry = clone.lineage().workspace.registry
    other = next(v for v in registry.versions(SYMBOL) if v.label != first.model)
    registry.set_alias(SYMBOL, CHAMPION, other.version)
    assert judge_drift(clone.lineage()).onset


def test_a_feed_that_sticks_is_an_alert_and_no_drift(clone: SmallHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said once, however often the window is judged, and nothing is retrained on bars that are none."""
    lineage = clone.lineage()
    moved = lineage.dataset().known_at[:-30]
    monkeypatch.setattr(drifting.Pulse, "of", lambda _candles: drifting.Pulse(moved))
    for _ in range(2):
        verdict = judge_drift(lineage)
        assert verdict.dead_feed
        assert not verdict.onset
    told = [alert for alert in _about(lineage.workspace, SYMBOL, datetime(2024, 7, 1, tzinfo=UTC))]
    assert [alert.kind for alert in told if "repeats" in alert.title] == ["stale_data"]
    assert str(moved[-1]) in next(alert.cause for alert in told if "repeats" in alert.title)


def _tripled_from(dataset: Dataset, days: int) -> Any:
    """Return `drift_table` with volatile last days; rows before them are what they are."""
    whole = drifting.drift_table

    def table(*values: Any) -> Any:
        made = whole(*values)
        late = made.known_at > dataset.known_at[-1] - np.timedelta64(days, "D")
        changed = made.values.copy()
        changed[late, :2] *= 5
        return type(made)(made.symbol, made.names, made.known_at, changed)

    return table


def test_the_verb_shows_parts_bars_and_columns(clone: SmallHome) -> None:
    clone.configure("pipeline.yaml", {"drift": {"min_windows": 4}})
    judge_drift(clone.lineage())
    shown = CliRunner().invoke(drift, [SYMBOL])
    assert shown.exit_code == 0, shown.output
    for words in (
        "features",
        "levels",
        "predictions",
        "residuals",
        "pit",
        "online_mmd",
        "out of sample",
        "KS distance",
    ):
        assert words in " ".join(shown.output.split())
    told = json.loads(CliRunner().invoke(drift, [SYMBOL, "--json"]).output)
    assert {stream["name"] for stream in told["online"]["streams"]} == {"online_mmd", "online_cvm"}


def test_a_champion_is_judged_on_the_features_that_it_was_trained_on(clone: SmallHome) -> None:
    """The pair's features may be others by now."""
    before = judge_drift(clone.lineage())
    clone.configure("features/default.yaml", {"groups": ["ohlc", "time"]})
    assert clone.lineage().spec.groups == ("ohlc", "time")
    assert judge_drift(clone.lineage()).parts == before.parts


def test_a_live_loop_watches_its_champion_and_what_it_saw_is_in_the_document(clone: SmallHome) -> None:
    """Its watch is the daily verdict's: one reference, one state; alarms it raised are shown with the verdict."""
    verdict = judge_drift(clone.lineage())
    assert verdict.model
    assert stored(clone)["live_onsets"] == []
    lineage = clone.lineage()
    version = lineage.workspace.registry.holder(SYMBOL, CHAMPION)
    assert version is not None
    watch = drifting.online_watch(lineage, version)
    assert watch.observe(lineage.dataset(), keep=False).rows == 0  # the daily verdict has seen them all
    with live_loop(lineage.workspace) as loop:
        step = loop.step()
    assert (step.forecasts, step.problems) == (1, ())
    now = lineage.workspace.clock.now()
    told = Alert("drift", SYMBOL, f"{CAUSE}{version.label} online_mmd since x", "warning", "begins", "It moved.", now)
    assert record_alert(lineage.workspace.database, told, timedelta(0))
    judge_drift(clone.lineage())
    assert [onset["said"] for onset in stored(clone)["live_onsets"]] == ["It moved."]
    shown = CliRunner().invoke(drift, [SYMBOL])
    assert "seen live: It moved." in " ".join(shown.output.split())
