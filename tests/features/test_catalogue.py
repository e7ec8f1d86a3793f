"""The catalogue shows every indicator with what it publishes, and the page in docs is current."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from market_helpers import shared

from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.features.blocks import compute_table
from fxgpt_core.features.catalogue import catalogue, markdown
from fxgpt_core.features.registry import indicators
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.sample import sample_candles
from fxgpt_core.market.resampling import resample

PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def test_every_indicator_is_described_with_formula_source_and_columns() -> None:
    entries = catalogue()
    assert {entry.name for entry in entries} == set(indicators())
    for entry in entries:
        assert entry.columns, entry.name
        assert entry.formula.endswith("."), f"{entry.name} needs a sentence that says what its columns are"
        assert entry.source
        assert all("_<tf>" in name for name in entry.columns), entry.columns


def test_the_page_in_docs_is_what_the_declarations_say() -> None:
    assert PAGE.read_text() == markdown(catalogue()), "run: fxgpt features --markdown > docs/features.md"


def test_a_configuration_shows_its_choice_with_its_parameters() -> None:
    spec = FeatureSpec(groups=(), indicators={"rsi": "all"}, parameters={"rsi": {"period": 21}})
    (entry,) = catalogue(spec)
    assert entry.columns == ("rsi_<tf>_21",)
    assert entry.parameters == {"period": "21 [2, 288]"}


def repeated(candles: Candles) -> list[tuple[str, str]]:
    """Return the pairs of columns that correlate above .98, of those known on most bars and moving."""
    table = compute_table(candles, FeatureSpec())
    assert len(table.names) > 200
    late = table.values[min(1000, len(table) // 3) :].astype(np.float64)
    known = np.isfinite(late).mean(axis=0) > 0.9  # the sample has no calendar and no spreads
    assert known.sum() > 200
    late, names = late[:, known], [name for name, kept in zip(table.names, known, strict=True) if kept]
    moving = np.nanstd(late, axis=0) > 1e-9
    late = np.where(np.isfinite(late), late, np.nanmean(late, axis=0))[:, moving]
    names = [name for name, kept in zip(names, moving, strict=True) if kept]
    correlation = np.corrcoef(late, rowvar=False)
    first, second = np.nonzero(np.triu(np.abs(correlation), 1) > 0.98)
    return [(names[a], names[b]) for a, b in zip(first, second, strict=True)]


def test_the_default_set_has_over_two_hundred_columns_and_none_says_another_again() -> None:
    assert not repeated(sample_candles())  # five thousand real hours


@pytest.mark.parametrize("code", ["4h", "1d"])
def test_no_column_of_slower_bars_says_another_again(code: str) -> None:
    hours = pd.read_parquet(shared("h1h4_mt5_2012_2020/EURGBP_1h.parquet"))
    bars = resample(Candles.from_frame(hours, "EURGBP", timeframe("1h"), "bid"), code)
    assert not repeated(bars.take(slice(max(len(bars) - 2500, 0), None)))


def test_no_indicator_comes_in_more_than_three_periods() -> None:
    for indicator in indicators().values():
        for name, parameter in indicator.parameters.items():
            values = parameter.default if isinstance(parameter.default, tuple) else (parameter.default,)
            assert len(values) <= 3, f"{indicator.name}.{name}"
