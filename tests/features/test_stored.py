"""Through the lake or in memory: the same dataset; unchanged months are left alone; a crash is noticed."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.features.assemble import build_dataset, load_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.stored import FEATURES, TARGETS, update_tables, update_targets
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.lake import Lake
from tests.features.stored_lake import CANDLES, HORIZONS, LAYOUT, SPEC, store


def same(left: Dataset, right: Dataset) -> None:
    for name in ("last_known", "yardstick", "targets", "label_end", "mask"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    for code, table in left.tables.items():
        assert table.names == right.tables[code].names
        for item in ("ts_utc", "known_at", "values"):
            np.testing.assert_array_equal(getattr(table, item), getattr(right.tables[code], item))
    for item in (f.name for f in fields(Candles) if f.name not in ("symbol", "timeframe", "side")):
        np.testing.assert_array_equal(getattr(left.candles, item), getattr(right.candles, item))
    assert (left.definition_hash, left.horizons, left.symbol) == (right.definition_hash, right.horizons, right.symbol)


def test_both_roads_give_the_same_dataset(lake: Lake) -> None:
    stored = load_dataset(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC)
    same(stored, build_dataset(CANDLES.take(slice(0, 1500)), LAYOUT, HORIZONS, SPEC))
    assert stored.usable.sum() > 900


def test_nothing_new_computes_nothing(lake: Lake) -> None:
    summary = update_tables(lake, "GBPUSD", LAYOUT, SPEC)
    assert sum(summary.computed.values()) == 0
    assert summary.skipped == {"1h": 3, "4h": 3, "1d": 3}
    assert summary.columns["1h"] > 15
    assert update_targets(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC).written == 0


def test_new_bars_recompute_only_the_months_they_touch(lake: Lake) -> None:
    store(lake, CANDLES)
    assert update_tables(lake, "GBPUSD", LAYOUT, SPEC).computed == {"1h": 2, "4h": 2, "1d": 2}  # March and April
    summary = update_targets(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC)
    assert (summary.written, summary.skipped) == (2, 2)
    same(load_dataset(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC), build_dataset(CANDLES, LAYOUT, HORIZONS, SPEC))


def test_another_definition_recomputes_everything_and_is_refused_until_then(lake: Lake) -> None:
    other = SPEC.model_copy(update={"parameters": {"rsi": {"period": 21}}})
    with pytest.raises(DataError, match="another configuration"):
        load_dataset(lake, "GBPUSD", LAYOUT, HORIZONS, other)
    assert update_tables(lake, "GBPUSD", LAYOUT, other).computed["1h"] == 3
    same(
        load_dataset(lake, "GBPUSD", LAYOUT, HORIZONS, other),
        build_dataset(CANDLES.take(slice(0, 1500)), LAYOUT, HORIZONS, other),
    )


def test_a_lost_part_is_computed_again(lake: Lake) -> None:
    keys = {"symbol": "GBPUSD", "timeframe": "1h"}
    before = load_dataset(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC)
    lake.remove(FEATURES, keys, ["month=2024-02"])
    lake.remove(TARGETS, keys, ["month=2024-03"])
    assert update_tables(lake, "GBPUSD", LAYOUT, SPEC).computed["1h"] == 1
    assert update_targets(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC).written == 1
    same(load_dataset(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC), before)


def test_a_run_killed_between_months_is_finished_by_the_next(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    store(lake, CANDLES)
    write = Lake.write
    done: list[str] = []

    def dying(self: Lake, *args: object) -> None:
        if done:
            raise KeyboardInterrupt
        done.append("one")
        write(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Lake, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        update_tables(lake, "GBPUSD", LAYOUT, SPEC)
    monkeypatch.setattr(Lake, "write", write)
    with pytest.raises(DataError, match="again"):
        load_dataset(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC)
    update_tables(lake, "GBPUSD", LAYOUT, SPEC)
    update_targets(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC)
    same(load_dataset(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC), build_dataset(CANDLES, LAYOUT, HORIZONS, SPEC))


@pytest.mark.parametrize("caught", ["1h", "4h", "1d"])
def test_whoever_reads_while_another_writes_waits_for_whole_tables(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, caught: str
) -> None:
    """Months that are written anew stand in no manifest: a reader must not take what is left for all there is."""
    store(lake, CANDLES)
    until = CANDLES.known_at[1499]
    before = build_dataset(CANDLES.take(slice(0, 1500)), LAYOUT, HORIZONS, SPEC)
    write, found = Lake.write, []
    reader = Thread(target=lambda: found.append(load_dataset(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC, until)))

    def watched(self: Lake, dataset: str, keys: Mapping[str, str], part: str, table: object) -> None:
        if keys["timeframe"] == caught and reader.ident is None:
            reader.start()
            reader.join(1.0)  # it has looked by then, and waits
        write(self, dataset, keys, part, table)  # type: ignore[arg-type]

    monkeypatch.setattr(Lake, "write", watched)
    update_tables(lake, "GBPUSD", LAYOUT, SPEC)
    reader.join()
    same(found[0], before)


def test_targets_of_older_bars_are_refused(lake: Lake) -> None:
    store(lake, CANDLES)
    update_tables(lake, "GBPUSD", LAYOUT, SPEC)
    with pytest.raises(DataError, match="materialise the targets again"):
        load_dataset(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC)


def test_missing_features_say_what_to_do(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    store(lake, CANDLES)
    with pytest.raises(DataError, match="missing: materialise"):
        load_dataset(lake, "GBPUSD", LAYOUT, HORIZONS, SPEC)
