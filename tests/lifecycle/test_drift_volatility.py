"""A shift of volatility is told apart from volatility that clusters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.lifecycle.drift.columns import DriftTable
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.parts import facts_of, part_from
from fxgpt_core.lifecycle.drift.volatility import DOWNWARDS, UPWARDS, VolatilityPart, volatility_table
from fxgpt_core.market import calendar
from fxgpt_core.market.candles import Candles

CONFIG = DriftConfig()
DAY = np.timedelta64(1, "D")
START = np.datetime64("2022-01-02", "ns")


def clustered(seed: int, weeks: int = 60) -> DriftTable:
    """Hours of a GARCH(1,1) market with Student shocks."""
    rng = np.random.default_rng(seed)
    opens = calendar.bar_opens(START, START + np.timedelta64(weeks * 7, "D"), "1h")
    shocks = rng.standard_normal((len(opens), 8)) * np.sqrt(4 / rng.chisquare(6, len(opens)))[:, None] / np.sqrt(8)
    values, variance = np.empty((len(opens), 2), dtype=np.float32), 1.0
    for row, steps in enumerate(shocks):
        path = np.r_[0.0, np.cumsum(steps)] * np.sqrt(variance) * 1e-3
        values[row] = np.ptp(path), path[-1]
        variance = 0.03 + variance * (0.06 * steps.sum() ** 2 + 0.91)
    return DriftTable("EURUSD", ("range", "return"), opens + np.timedelta64(1, "h"), values)


def scaled(table: DriftTable, since: np.datetime64, factor: float) -> DriftTable:
    values = table.values.copy()
    values[table.known_at > since] *= factor
    return replace(table, values=values)


@pytest.fixture(scope="module")
def market() -> tuple[DriftTable, VolatilityPart, np.datetime64]:
    table = clustered(1)
    end = START + 50 * 7 * DAY
    part = VolatilityPart.build(table.between(START, end), CONFIG, 0.03, np.random.default_rng(0))
    return table, part, end + 14 * DAY


def test_doubled_and_halved_volatility_are_found_within_a_week_and_calm_is_calm(
    market: tuple[DriftTable, VolatilityPart, np.datetime64],
) -> None:
    table, part, since = market
    for factor, way in ((2.0, UPWARDS), (0.5, DOWNWARDS)):
        now = since + 7 * DAY
        statistic, said, rows = part.compare(scaled(table, since, factor), since, now)
        assert (statistic > part.threshold, said) == (True, way)
        assert rows == 120
    calm = [part.compare(table, now - 7 * DAY, now)[0] for now in np.arange(since, since + 42 * DAY, 7 * DAY)]
    assert max(calm) < part.threshold


def test_the_weights_are_those_of_the_market(market: tuple[DriftTable, VolatilityPart, np.datetime64]) -> None:
    _, part, _ = market
    known = np.r_[1.0, part.levels.repeat(len(part.half_lives))]
    shares = part.weights * known / (part.weights @ known)
    assert part.weights.min() >= 0
    assert 0.15 < shares[0] < 0.55  # of the long-run level: 0.03 / (1 - 0.91)
    assert part.noise < 0.5


def test_what_comes_later_is_not_read_and_old_history_is_forgotten(
    market: tuple[DriftTable, VolatilityPart, np.datetime64],
) -> None:
    table, part, since = market
    now = since + 3 * DAY
    whole = part.compare(table, now - 7 * DAY, now)
    assert part.compare(scaled(table, now, 9.0), now - 7 * DAY, now) == whole
    late = table.between(now - 90 * DAY, now)
    assert part.compare(late, now - 7 * DAY, now)[0] == pytest.approx(whole[0], abs=0.05)


def test_the_part_survives_being_stored(market: tuple[DriftTable, VolatilityPart, np.datetime64]) -> None:
    table, part, since = market
    again = part_from(facts_of(part), part.arrays())
    assert isinstance(again, VolatilityPart)
    assert again.compare(table, since - 7 * DAY, since) == part.compare(table, since - 7 * DAY, since)
    assert again.threshold == part.threshold


def test_the_table_has_a_row_for_each_hour_that_is_over() -> None:
    opens = calendar.bar_opens(START + 3 * DAY, START + 4 * DAY, "5m")[: 12 * 5 + 7]
    rng = np.random.default_rng(3)
    close = 1.1 * np.exp(np.cumsum(rng.normal(0, 1e-4, len(opens))))
    first = np.r_[1.1, close[:-1]]
    bars = Candles(
        symbol="EURUSD", timeframe=timeframe("5m"), side="mid", ts_utc=opens, open=first,
        high=np.maximum(first, close) * 1.0001, low=np.minimum(first, close), close=close,
        volume=np.ones(len(opens)), spread=np.full(len(opens), np.nan),
    )  # fmt: skip
    table = volatility_table(bars)
    assert len(table) == 5  # the sixth is not over
    np.testing.assert_array_equal(table.known_at, opens[0] + np.arange(1, 6) * np.timedelta64(1, "h"))
    assert table.values[1, 1] == pytest.approx(np.log(close[23] / close[11]), rel=1e-4)
    assert table.values[1, 0] == pytest.approx(np.sqrt((np.log(bars.high / bars.low)[12:24] ** 2).mean()), rel=1e-4)
    assert len(volatility_table(bars.take(slice(0, 0)))) == 0
