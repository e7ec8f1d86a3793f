"""A feature that looks ahead, or remembers for too long, stops its run at the features, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dagster import AssetKey

from fxgpt_core.features import registry
from fxgpt_core.features.bars import Bars
from fxgpt_core.features.registry import Columns, Indicator
from fxgpt_core.features.rolling import ewma
from fxgpt_core.features.stored import read_table
from fxgpt_pipeline.homes import prepare
from fxgpt_pipeline.stages import CANDLES, TABLES, TARGETS
from tests.pipeline.small_home import SmallHome, empty_home, quiet_bars


def centred(bars: Bars) -> Columns:
    """A mean over two bars to come."""
    return {("centred",): np.convolve(bars.close, np.ones(5) / 5, mode="same") / bars.close}


def endless(bars: Bars) -> Columns:
    """An average that hardly forgets."""
    return {("endless",): ewma(bars.log_range, 1000.0)}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallHome:
    made = empty_home(tmp_path).enter(monkeypatch)
    made.configure("features/default.yaml", {"groups": ["ohlc"]})
    made.bring(quiet_bars())
    prepare(made.lineage().workspace)
    return made


@pytest.mark.parametrize(
    ("fault", "check", "column"),
    [(centred, "no_look_ahead", "centred_1h"), (endless, "warm_up_suffices", "endless_1h")],
)
def test_a_faulty_feature_stops_the_run_and_is_named(
    home: SmallHome, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Bars], Columns], check: str, column: str
) -> None:
    with monkeypatch.context() as patch:
        made = Indicator("planted", "ohlc", "a fault", fault, lambda p: 0)
        patch.setattr(registry, "_INDICATORS", {**registry.indicators(), "planted": made})
        outcome = home.materialise((CANDLES, TABLES, TARGETS))
        assert not outcome.success
        assert f"features/tables: the check {check} failed" in outcome.error
        assert column in outcome.error
        assert "features/tables" in home.stale()
        assert "features/targets" not in home.stale()
    assert home.materialise((TABLES,)).success
    assert "features/tables" not in home.stale()


def test_the_share_of_missing_values_is_told_of_every_timeframe(home: SmallHome) -> None:
    assert home.materialise((CANDLES, TABLES)).success
    with home.instance() as instance:
        event = instance.get_latest_materialization_event(AssetKey(TABLES))
    assert event is not None
    assert event.asset_materialization is not None
    told = event.asset_materialization.metadata
    shares = told["missing_share"].value
    assert isinstance(shares, dict)
    assert set(shares) == {"1h", "4h"}
    lineage = home.lineage()
    for bar in lineage.timeframes:
        table = read_table(
            lineage.workspace.lake, lineage.symbol, bar, lineage.spec.definition_hashes(lineage.timeframes)[bar.code]
        )
        missing = np.isnan(table.values).mean(axis=0)
        expected = {name: round(float(share), 4) for name, share in zip(table.names, missing, strict=True) if share}
        assert shares[bar.code] == expected
    schema = told["dagster/column_schema"].value
    assert "close_close_1h" in {column.name for column in schema.columns}
