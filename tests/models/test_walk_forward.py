"""Walk-forward keeps finished folds as long as what they were made from stays, and shows no fold a later bar."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.progress import silent
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import walk_forward
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.lake import Lake
from fxgpt_core.models.fold_inputs import fold_fingerprints, last_bar
from fxgpt_core.models.forecaster import Forecaster
from fxgpt_core.models.registry import FAMILIES, FamilyEntry
from fxgpt_core.models.walk_forward import FoldStore, WalkForward, read_in_sample, read_walk_forward, run_walk_forward
from fxgpt_core.store.clock import FixedClock
from fxgpt_core.training.plan import TrainingPlan, plan_training
from tests.models.tabular_data import HORIZONS, LAYOUT, bars

CONFIG = WalkForwardConfig(folds=3, min_train_rows=50)
CANDLES, SPEC = bars(1480), FeatureSpec(groups=("ohlc",))
LATER = build_dataset(CANDLES, LAYOUT, HORIZONS, SPEC)
EARLIER = build_dataset(CANDLES.take(slice(0, 1400)), LAYOUT, HORIZONS, SPEC)
EWMA = FAMILIES["ewma"]
OLD, NEW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
PLAN = plan_training(1, None, accelerated=False)


def run(
    lake: Lake,
    dataset: Dataset,
    moment: datetime,
    config: WalkForwardConfig = CONFIG,
    recipe: str = "recipe",
    entry: FamilyEntry = EWMA,
    started: Any = lambda _: None,
) -> WalkForward:
    """Run as the pipeline does; the stage's fingerprint differs with every dataset."""
    splits = walk_forward(dataset, config)
    inputs = fold_fingerprints(dataset, splits, recipe)
    store = FoldStore(lake, "EURUSD", entry.name, f"{len(dataset)}{recipe}{config}", inputs)
    settings = entry.config({})
    return run_walk_forward(dataset, entry, settings, splits, store, PLAN, FixedClock(moment), silent, started)


def made_at(result: WalkForward) -> list[np.datetime64]:
    """When each fold was made."""
    return [result.forecast.made_at[result.fold == fold][0] for fold in np.unique(result.fold)]


@pytest.mark.parametrize("family", ["ewma", "har"])
def test_new_bars_leave_finished_folds_alone_and_what_is_kept_is_what_would_be_made_again(
    tmp_path: Path, family: str
) -> None:
    entry = FAMILIES[family]
    old, new = (np.datetime64(moment.replace(tzinfo=None), "ns") for moment in (OLD, NEW))
    lake = Lake(tmp_path / "kept")
    before = run(lake, EARLIER, OLD, entry=entry)
    assert made_at(before) == [old] * 4
    assert len(before.forecast) < len(run(lake, LATER, NEW, entry=entry).forecast)
    kept = read_walk_forward(lake, "EURUSD", family)
    learnt = read_in_sample(lake, "EURUSD", family)
    assert made_at(kept) == [old, old, old, new], "the last fold has grown, the others have not"
    fresh = run(Lake(tmp_path / "fresh"), LATER, NEW, entry=entry)
    np.testing.assert_array_equal(kept.forecast.quantiles, fresh.forecast.quantiles)
    np.testing.assert_array_equal(kept.forecast.decided_at, fresh.forecast.decided_at)
    np.testing.assert_array_equal(kept.forecast.model_version, fresh.forecast.model_version)
    assert learnt == read_in_sample(Lake(tmp_path / "fresh"), "EURUSD", family), "scores on training rows are kept too"
    assert len(learnt) == 4
    assert all(one.rows > 0 and min(one.crps) > 0 for one in learnt.values())


def prints(dataset: Dataset, config: WalkForwardConfig = CONFIG, recipe: str = "recipe") -> list[str]:
    return list(fold_fingerprints(dataset, walk_forward(dataset, config), recipe).values())


def changed(dataset: Dataset, **other: Any) -> list[bool]:
    """Which folds are no longer valid."""
    pairs = zip(prints(LATER), prints(dataset, **other), strict=True)
    return [before != after for before, after in pairs]


def test_new_bars_change_the_fingerprint_of_the_growing_fold_alone() -> None:
    before, after = prints(EARLIER), prints(LATER)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, True, False]


def test_an_older_bar_invalidates_every_fold_that_saw_it_and_no_other() -> None:
    stops = [last_bar(split) for split in walk_forward(LATER, CONFIG)]
    for bar, expected in ((10, [True] * 4), (stops[0] - 1, [True] * 4), (stops[0], [False] + [True] * 3)):
        close = LATER.candles.close.copy()
        close[bar] = (LATER.candles.high[bar] + LATER.candles.low[bar]) / 2
        assert changed(replace(LATER, candles=replace(LATER.candles, close=close))) == expected


def test_a_feature_a_label_and_the_yardstick_count_from_their_bar_on() -> None:
    stops = [last_bar(split) for split in walk_forward(LATER, CONFIG)]
    for code, table in LATER.tables.items():
        column = list(LATER.tables).index(code)
        values = table.values.copy()
        values[LATER.last_known[stops[1] - 1, column] + 1, 0] += 1
        tables = {**LATER.tables, code: replace(table, values=values)}
        assert changed(replace(LATER, tables=tables)) == [False, False, True, True]
    for name in ("targets", "yardstick"):
        values = getattr(LATER, name).copy()
        values[stops[0]] *= 1.5
        assert changed(replace(LATER, **{name: values})) == [False, True, True, True]


def test_definitions_recipe_and_splits_count_everywhere() -> None:
    assert all(changed(replace(LATER, definition_hash="other")))
    assert all(changed(LATER, recipe="other"))
    assert all(changed(LATER, config=CONFIG.model_copy(update={"embargo_days": 3.0})))
    assert all(changed(LATER, config=CONFIG.model_copy(update={"validation_share": 0.2})))
    assert changed(LATER, config=CONFIG.model_copy(update={"min_train_rows": 60})) == [False] * 4
    assert not set(prints(LATER)) & set(prints(replace(LATER, symbol="GBPUSD")))


class Watching:
    """A forecaster that notes what it is shown and forecasts by another one."""

    family = "ewma"

    def __init__(self, seen: list[Dataset], inner: Forecaster) -> None:
        self.seen, self.inner = seen, inner

    def fit(self, dataset: Dataset, plan: TrainingPlan, progress: Any = silent) -> Any:
        self.seen.append(dataset)
        return self.inner.fit(dataset, plan, progress)

    def forecast(self, dataset: Dataset, *rest: Any) -> Any:
        self.seen.append(dataset)
        return self.inner.forecast(dataset, *rest)


def test_no_fold_is_shown_a_later_bar_or_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Dataset] = []
    create = FamilyEntry.create
    monkeypatch.setattr(FamilyEntry, "create", lambda entry, config: Watching(seen, create(entry, config)))
    run(Lake(tmp_path), LATER, OLD)
    shown = zip(seen[::3], seen[1::3], seen[2::3], strict=True)  # to fit, to forecast test rows, training rows
    for split, datasets in zip(walk_forward(LATER, CONFIG), shown, strict=True):
        stop = last_bar(split)
        for dataset in datasets:
            assert len(dataset) == stop
            assert dataset.label_end[dataset.mask].max() <= dataset.known_at[-1]
            assert np.isnan(dataset.targets[~dataset.mask]).all()
            assert all((table.known_at <= dataset.known_at[-1]).all() for table in dataset.tables.values())


def test_an_interrupted_run_carries_on_and_other_splits_or_recipes_start_afresh(tmp_path: Path) -> None:
    lake = Lake(tmp_path)

    def stop_at_third(fold: str) -> None:
        if fold == "fold2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(lake, LATER, OLD, started=stop_at_third)
    fitted: list[str] = []
    assert list(run(lake, LATER, OLD, started=fitted.append).reports) == fitted == ["fold2", "fold3"]
    assert list(run(lake, LATER, OLD).reports) == []
    assert list(run(lake, LATER, OLD, recipe="other").reports) == ["fold0", "fold1", "fold2", "fold3"]
    fewer = CONFIG.model_copy(update={"folds": 2})
    again = run(lake, LATER, OLD, fewer, recipe="other")
    assert len(again.reports) == len(lake.parts("walk_forward", {"symbol": "EURUSD", "family": "ewma"})) == 3


def test_a_fold_whose_file_is_gone_is_made_again(tmp_path: Path) -> None:
    lake, keys = Lake(tmp_path), {"symbol": "EURUSD", "family": "ewma"}
    whole = run(lake, LATER, OLD)
    lake.remove("walk_forward", keys, ["fold=fold1"])
    again = run(lake, LATER, OLD)
    assert list(again.reports) == ["fold1"]
    np.testing.assert_array_equal(again.forecast.quantiles, whole.forecast.quantiles)


def test_nothing_stored_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="materialise walk_forward/ewma"):
        read_walk_forward(Lake(tmp_path), "EURUSD", "ewma")
