"""A run knows the bars that it began with, whatever a live loop and other runs add while it trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dagster import DagsterInstance

import fxgpt_pipeline.training as training
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.stored import update_tables, update_targets
from fxgpt_core.lifecycle.bundle import load_bundle
from fxgpt_core.lifecycle.registry import SHADOW
from fxgpt_core.market.candles import Candles
from fxgpt_core.store.audit import last_retraining
from fxgpt_pipeline.lineage import Lineage
from fxgpt_pipeline.pinning import data_version, latest
from fxgpt_pipeline.runs import RETRAIN_JOB
from fxgpt_pipeline.stages import CANDLES, CHAMPION, DRIFT, TABLES, TARGETS, calibrated, candidate, walk_forward
from tests.pipeline.small_home import SYMBOL, SmallHome, later_bars

MORE = 40


def same(one: Dataset, other: Dataset) -> None:
    """Hold two datasets equal, value by value."""
    assert np.array_equal(one.candles.close, other.candles.close)
    assert np.array_equal(one.known_at, other.known_at)
    assert np.array_equal(one.last_known, other.last_known)
    for name in ("yardstick", "targets", "label_end", "mask"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name in ("yardstick", "targets"))
    for code, table in one.tables.items():
        assert np.array_equal(table.values, other.tables[code].values, equal_nan=True)


def refresh(lineage: Lineage) -> None:
    """Bring features and targets up to the newest bars, as another run would."""
    update_tables(lineage.workspace.lake, SYMBOL, lineage.timeframes, lineage.spec)
    update_targets(lineage.workspace.lake, SYMBOL, lineage.timeframes, lineage.horizons, lineage.spec)


def with_first_close(bars: Candles, factor: float) -> Candles:
    """Return the bars with another first close."""
    close = bars.close.copy()
    close[0] *= factor
    return replace(bars, close=close, high=np.maximum(bars.high, close), low=np.minimum(bars.low, close))


def test_a_pinned_lineage_is_as_it_was_whatever_comes_later(clone: SmallHome) -> None:
    before = clone.lineage()
    data, prints = before.dataset(), {key: before.fingerprint(key) for key in (CANDLES, TABLES, TARGETS, CHAMPION)}
    until = data.known_at[-1]
    clone.bring(later_bars(MORE))
    clone.materialise([CANDLES])
    for _ in range(2):  # with features of fewer bars in the lake than there are, then with features of all
        pinned = clone.lineage().pinned(until)
        same(pinned.dataset(), data)
        assert {key: pinned.fingerprint(key) for key in prints} == prints
        refresh(clone.lineage())
    now = clone.lineage()
    assert len(now.dataset()) == len(data) + MORE
    assert all(now.fingerprint(key) != prints[key] for key in prints)


def test_bars_that_change_before_the_pin_change_what_it_stands_for(clone: SmallHome) -> None:
    lineage = clone.lineage()
    until = lineage.candles().known_at[-1]
    wanted = lineage.fingerprint(TABLES)
    last = lineage.candles().take(slice(-3, None))
    clone.bring(with_first_close(last, 1.001))
    assert clone.lineage().pinned(until).fingerprint(TABLES) != wanted


def test_a_retraining_overtaken_by_bars_and_by_other_runs_ends_well(
    clone: SmallHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its first model trains, bars come in and another run makes candles, features and drift of them."""
    bars = later_bars(100 + MORE)
    clone.bring(bars.take(slice(0, 100)))
    known, real = [], training.walk_forward_forecasts

    def overtaken(lineage: Lineage, *rest: object, **named: object) -> object:
        if not known:
            known.append(lineage.candles().known_at[-1])
            clone.bring(bars)
            assert clone.materialise([CANDLES, TABLES, TARGETS, DRIFT]).success
        return real(lineage, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "walk_forward_forecasts", overtaken)
    lineage = clone.lineage()
    done = clone.materialise(lineage.stages, job=RETRAIN_JOB)
    assert done.success, done.error

    pinned = clone.lineage().pinned(known[0])
    with clone.instance() as instance:
        assert made_as(instance, pinned, candidate("ridge")) == made_as(instance, pinned, CHAMPION) == [True]
    shadow = pinned.workspace.registry.holder(SYMBOL, SHADOW)
    assert shadow is not None
    assert load_bundle(pinned.workspace.registry.folder(shadow)).card.extra["bars"] == len(pinned.dataset())
    assert len(clone.lineage().candles()) == len(pinned.dataset()) + MORE
    # The verdict on the newer window stands: the run that knew fewer bars did not put an older one in its place.
    ended = pinned.workspace.documents.read("drift", SYMBOL)["verdict"]["window_end"]
    assert np.datetime64(ended.removesuffix("Z")) == clone.lineage().candles().known_at[-1] > known[0]


def made_as(instance: DagsterInstance, lineage: Lineage, key: tuple[str, ...]) -> list[bool]:
    """Tell whether the newest result of a stage is the one that the lineage asks for."""
    return [data_version(latest(instance, key, SYMBOL)) == lineage.fingerprint(key)]


def test_features_made_again_while_bars_wait_are_those_of_the_candles(clone: SmallHome) -> None:
    """A live loop stores bars without making candles: what follows the candles alone is not refused for it."""
    clone.bring(later_bars(MORE))
    done = clone.materialise([TABLES, TARGETS, DRIFT])
    assert done.success, done.error


def test_candles_made_while_features_are_computed_are_the_next_runs(
    clone: SmallHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fxgpt_core.features.stored as stored

    real, made = stored.update_targets, []

    def overtaken(*given: object, **named: object) -> object:
        if not made:
            made.append(True)
            clone.bring(later_bars(MORE))
            assert clone.materialise([CANDLES]).success
        return real(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(stored, "update_targets", overtaken)
    done = clone.materialise([TABLES, TARGETS, DRIFT])
    assert (done.success, made) == (True, [True]), done.error


def test_what_another_run_has_put_in_its_place_is_no_longer_ones_own(
    clone: SmallHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folds exist once a symbol: a run whose folds were replaced stops before it calibrates the other's."""
    import fxgpt_pipeline.evaluating as evaluating

    real, made = evaluating.calibrate, []

    def overtaken(lineage: Lineage, family: str) -> object:
        if not made:
            made.append(True)
            clone.bring(later_bars(200))
            others = clone.materialise([CANDLES, TABLES, TARGETS, walk_forward("ridge")])
            assert others.success, others.error
        return real(lineage, family)

    monkeypatch.setattr(evaluating, "calibrate", overtaken)
    done = clone.materialise([calibrated("ewma"), calibrated("ridge")])
    assert made == [True]
    assert "walk_forward/ridge were made from other bars" in done.error


def test_settling_the_same_candidates_again_is_no_retraining(clone: SmallHome) -> None:
    """Other costs or gates settle anew what was trained before; age and unanswered drift go on counting."""
    database = clone.lineage().workspace.database
    before = last_retraining(database, SYMBOL)
    clone.configure("pipeline.yaml", {"gate": {"coverage_tolerance": 0.021}})
    assert clone.stale() == {"lifecycle/champion", "reports/overview"}
    assert clone.materialise().success
    after = last_retraining(database, SYMBOL)
    assert before is not None
    assert after is not None
    assert (after.at, after.dagster_run_id) == (before.at, before.dagster_run_id)
