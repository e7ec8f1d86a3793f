"""Columns that a model cannot learn from are named, with figures; nothing is changed."""

import logging

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.features.coverage import Coverage, CoverageConfig, MissingColumns, warn

RNG = np.random.default_rng(1)
ROWS = 1000
FINE = RNG.normal(size=ROWS)


def verdict(column: np.ndarray, **config: float) -> tuple[str, str]:
    """Return why a column is dropped and why it is suspect, both empty for a good one."""
    found = Coverage.of(np.stack([FINE, column], axis=1).astype(np.float32), CoverageConfig(**config))
    assert 0 not in found.dropped
    assert 0 not in found.suspect
    return found.dropped.get(1, ""), found.suspect.get(1, "")


def spoilt(rows: int, value: float) -> np.ndarray:
    """Return a good column with `value` in the first `rows` rows."""
    return np.where(np.arange(ROWS) < rows, value, RNG.normal(size=ROWS))


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (np.full(ROWS, np.nan), "all missing in 1000 rows"),
        (spoilt(851, np.nan), "mostly missing, known in 149 of 1000 rows (15% needed)"),
        (np.full(ROWS, 0.1), "constant at 0.1"),
        (np.where(np.arange(ROWS) < 500, np.nan, 3.0), "constant at 3"),
        (1.2 + 1e-7 * RNG.normal(size=ROWS), "constant at 1.2"),  # rounding of float32 is no movement
        (spoilt(11, np.inf), "infinite in 11 of 1000 rows"),
        (spoilt(11, -1e20), "explosive, 11 of 1000 values beyond 100 robust deviations"),
        (np.exp(np.linspace(0, 80, ROWS)), "explosive, 437 of 1000 values beyond 100 robust deviations"),
    ],
)
def test_useless_columns_are_dropped_with_figures(column: np.ndarray, why: str) -> None:
    assert verdict(column) == (why, "")


@pytest.mark.parametrize(
    "column",
    [
        spoilt(850, np.nan),  # the least that is enough
        RNG.standard_t(3, size=ROWS),
        RNG.normal(size=ROWS) * 1e-6,
        (np.arange(ROWS) % 200 == 0).astype(float),  # a rare pattern
        np.where(np.arange(ROWS) % 50 == 0, RNG.normal(size=ROWS), 0.0),  # silent most of the time
        1e5 + RNG.normal(size=ROWS),
        np.exp(-0.1 * (np.arange(ROWS) % 200)),  # near an event, else nearly nothing
    ],
)
def test_good_columns_stay(column: np.ndarray) -> None:
    assert verdict(column) == ("", "")


def test_a_few_bad_values_are_named_and_the_column_stays() -> None:
    assert verdict(spoilt(3, np.inf)) == ("", "infinite in 3 of 1000 rows")
    assert verdict(spoilt(3, 1e9)) == ("", "explosive in 3 of 1000 rows, which are cut at the limit")


def test_the_limits_are_configurable() -> None:
    assert verdict(spoilt(50, 300.0), explosive_least=1000) == ("", "")
    assert verdict(spoilt(600, np.nan), min_share=0.5)[0].startswith("mostly missing")
    assert verdict(spoilt(3, 1e9), explosive_share=0.001)[0].startswith("explosive")
    assert verdict(spoilt(50, 30.0), explosive_limit=20, explosive_least=0)[0].startswith("explosive")
    assert verdict(spoilt(950, np.nan), min_share=0.0) == ("", "")
    assert verdict(np.full(ROWS, np.nan), min_share=0.0)[0].startswith("all missing")


def test_values_are_left_as_they_are() -> None:
    values = np.stack([spoilt(20, np.inf), spoilt(20, np.nan)], axis=1)
    before = values.copy()
    Coverage.of(values)
    np.testing.assert_array_equal(values, before)


def test_columns_do_not_influence_each_other_in_wide_tables() -> None:
    wide = RNG.normal(size=(200, 150))
    wide[:, 77] = 1.0
    wide[:, 140] = np.nan
    found = Coverage.of(wide)
    assert set(found.dropped) == {77, 140}
    np.testing.assert_array_equal(found.centre[:3], np.median(wide[:, :3], axis=0))


def test_columns_left_out_are_named_by_reason_and_warned_of_where_they_are_half(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = Coverage.of(np.stack([spoilt(1, np.inf), np.ones(ROWS), FINE, np.ones(ROWS)], axis=1))
    names = ("odd", "flat", "fine", "still")
    assert found.sentences(names) == (
        "flat left out: constant at 1",
        "still left out: constant at 1",
        "odd is infinite in 1 of 1000 rows; it stays",
    )
    with caplog.at_level(logging.INFO):
        warn("ridge of EURUSD", found, names)
        warn("nothing", Coverage.of(FINE[:, None]), ("fine",))
    assert caplog.messages == [
        "ridge of EURUSD: 2 of 4 columns left out: constant at 1: flat, still",
        "ridge of EURUSD: 1 of 4 columns odd, but kept: infinite in 1 of 1000 rows: odd",
    ]
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no row"):
        Coverage.of(np.empty((0, 3)))


def test_a_column_that_is_missing_in_forecasts_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    missing = MissingColumns()
    missing.tell("ridge of EURUSD", ("a",))
    missing.tell("ridge of EURUSD", ("a",))
    missing.tell("ridge of EURUSD", ("a", "b"))
    missing.tell("ridge of EURUSD", ())
    told = "missing in every row, taken to be at the mean of training"
    assert caplog.messages == [f"ridge of EURUSD: a {told}", f"ridge of EURUSD: b {told}"]
