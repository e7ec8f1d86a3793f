"""Drift bar by bar: statistics against their peers, restarts, alarms, dead feeds."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from fxgpt_core.lifecycle.drift.columns import DriftTable, drift_table, online_rows
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.feed import Pulse
from fxgpt_core.lifecycle.drift.reference import DriftReference, build_reference
from fxgpt_core.lifecycle.drift.statistics import mmd2, rbf
from fxgpt_core.lifecycle.drift.stream_series import cvm_series, mmd_series
from fxgpt_core.lifecycle.drift.streams import CVM, MMD, online_statistic
from fxgpt_core.lifecycle.drift.verdict import judge
from fxgpt_core.lifecycle.drift.watch import OnlineVerdict, OnlineWatch
from fxgpt_core.market.candles import Candles
from tests.lifecycle.test_drift import CONFIG, DAY, market, span

RNG = np.random.default_rng(4)
REFERENCE, ROWS = RNG.standard_normal((120, 3)), np.round(RNG.standard_normal((60, 3)), 1)  # ties among the rows
SIGMA, WINDOW = 1.5, 12


def run(kind: str, backend: str, cut: int | None = None) -> np.ndarray:
    """Statistics of all rows; at `cut` the state moves to a new process, as it were."""
    statistic = online_statistic(kind, backend, REFERENCE, SIGMA, WINDOW)
    found = []
    for i, row in enumerate(ROWS):
        if i == cut:
            state = statistic.state()
            statistic = online_statistic(kind, backend, REFERENCE, SIGMA, WINDOW)
            statistic.restore(state)
        found.append(statistic.update(row))
    return np.array(found)


@pytest.mark.parametrize("kind", [MMD, CVM])
def test_alibi_and_the_whole_span_give_the_same_statistics(kind: str) -> None:
    own = run(kind, "scipy")
    np.testing.assert_allclose(run(kind, "alibi"), own, atol=1e-6)
    at_once = mmd_series(ROWS, REFERENCE, SIGMA, WINDOW) if kind == MMD else cvm_series(ROWS, REFERENCE, WINDOW)
    np.testing.assert_allclose(own[WINDOW - 1 :], at_once, atol=1e-10)
    assert np.isnan(own[: WINDOW - 1]).all()


def test_statistics_are_those_of_the_window() -> None:
    from scipy.stats import cramervonmises_2samp

    window, distinct = ROWS[-WINDOW:], RNG.standard_normal((WINDOW, 3))
    expected = mmd2(rbf(REFERENCE, REFERENCE, SIGMA), rbf(window, window, SIGMA), rbf(REFERENCE, window, SIGMA))
    assert run(MMD, "scipy")[-1, 0] == pytest.approx(expected, abs=1e-12)
    found = cvm_series(distinct, REFERENCE, WINDOW)[0]
    theirs = np.array([cramervonmises_2samp(REFERENCE[:, c], distinct[:, c]).statistic for c in range(3)])
    assert np.ptp(found / (theirs - (1 / 6 + 1 / (6 * (120 + WINDOW))))) < 1e-9  # the same but for the scale


@pytest.mark.parametrize("backend", ["scipy", "alibi"])
@pytest.mark.parametrize("kind", [MMD, CVM])
def test_a_restored_state_goes_on_bit_for_bit(kind: str, backend: str) -> None:
    for cut in (3, 30):
        assert np.array_equal(run(kind, backend, cut), run(kind, backend), equal_nan=True)


@lru_cache(maxsize=2)
def reference() -> DriftReference:
    dataset = market(3)
    table, window = drift_table(dataset, CONFIG), online_rows(dataset, CONFIG)
    silence = Pulse.of(dataset.candles).longest(*span(dataset))
    return build_reference(table, *span(dataset), CONFIG, 0, model="EURUSD/1", window=window, silence=silence)


def table(tripled_days: int = 0) -> DriftTable:
    return drift_table(market(3, tripled_days=tripled_days), CONFIG)


def test_calm_bars_are_calm_and_a_wild_market_is_an_onset_once() -> None:
    watch = OnlineWatch(reference(), CONFIG, None)
    assert watch.observe(table()).onsets == ()
    watch, wild = OnlineWatch(reference(), CONFIG, None), table(tripled_days=8)
    begins = wild.known_at[-1] - 8 * DAY
    assert not watch.observe(wild.between(wild.known_at[0], begins)).drifted
    onsets: list[tuple[str, np.datetime64]] = []
    for at in wild.known_at[wild.known_at > begins]:
        found = watch.observe(wild.between(wild.known_at[0], at))
        assert found.rows == 1
        onsets += [(name, at) for name in found.onsets]
    assert sorted(name for name, _ in onsets) == [CVM, MMD]
    assert min(at for _, at in onsets) < begins + 5 * DAY  # a weekend among them


def test_the_daily_verdict_counts_what_was_seen_bar_by_bar() -> None:
    wild, calm = table(tripled_days=2), table()
    now = wild.known_at[-1]

    def verdict(rows: DriftTable) -> tuple[OnlineVerdict, bool]:
        online = OnlineWatch(reference(), CONFIG, None).observe(rows)
        found = judge(reference(), rows, now, CONFIG, online=online)
        names = {part.name for part in found.parts if part.drifted}
        return online, bool(names & {MMD, CVM})

    assert verdict(wild)[0].drifted
    assert verdict(wild)[1]
    assert not verdict(calm)[1]


def test_incomplete_bars_are_passed_over() -> None:
    rows = table()
    values = rows.values.copy()
    gone = rows.known_at > rows.known_at[-1] - 2 * DAY
    values[gone, rows.names.index("surprise")] = np.nan
    found = OnlineWatch(reference(), CONFIG, None).observe(replace(rows, values=values))
    whole = OnlineWatch(reference(), CONFIG, None).observe(rows)
    assert found.rows == whole.rows - gone.sum()
    assert found.as_of == whole.as_of


def stuck(candles: Candles, since: np.datetime64) -> Candles:
    """A feed that repeats its last price."""
    at = int(np.searchsorted(candles.known_at, since, side="right"))
    prices = {name: getattr(candles, name).copy() for name in ("open", "high", "low", "close")}
    for values in prices.values():
        values[at:] = candles.close[at - 1]
    return replace(candles, **prices)


def test_a_dead_feed_is_said_and_is_no_drift() -> None:
    """Constant bars and missing ones alike, within a trading day; a weekend is no silence."""
    dataset, rows = market(3), table()
    now = rows.known_at[-1]
    since = now - 20 * np.timedelta64(1, "h")
    for pulse in (Pulse.of(stuck(dataset.candles, since)), Pulse(dataset.known_at[dataset.known_at <= since])):
        found = judge(reference(), rows, now, CONFIG, pulse=pulse)
        assert found.dead_feed
        assert not found.drifted
        assert "the feed is dead" in found.summary
    alive = Pulse.of(dataset.candles)
    assert not judge(reference(), rows, now, CONFIG, pulse=alive).dead_feed
    sunday = dataset.known_at[0] + np.array([0, 12 * 7], dtype="timedelta64[D]")
    assert alive.longest(*sunday) < 3


def test_thresholds_are_shared_out_among_all_that_is_judged() -> None:
    dataset = market(3)
    alone = build_reference(drift_table(dataset, CONFIG), *span(dataset), CONFIG, 0)
    assert reference().features.threshold > alone.features.threshold


def test_the_window_is_told_in_trading_hours() -> None:
    assert online_rows(market(3), CONFIG) == 48
    assert online_rows(market(3), DriftConfig(online_hours=72.0)) == 72
