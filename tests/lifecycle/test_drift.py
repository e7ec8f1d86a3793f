"""Drift: statistics against their peers, calm markets stay calm, tripled volatility is an alarm exactly once."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import LEVELS, Forecast
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.drift.assess import assess_drift, reference_of, said_tables
from fxgpt_core.lifecycle.drift.columns import drift_table
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.detectors import ScipyDetector, detector
from fxgpt_core.lifecycle.drift.reference import DriftReference, build_reference
from fxgpt_core.lifecycle.drift.statistics import gumbel_quantile, ks_against_sorted, ks_p_value, median_bandwidth
from fxgpt_core.lifecycle.drift.verdict import DriftVerdict, judge
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.sample import sample_candles
from fxgpt_core.market.providers.simulator import simulate
from tests.speed import computed_within

CONFIG = DriftConfig()
DAY, WEEK = np.timedelta64(1, "D"), np.timedelta64(7, "D")


def wilder(candles: Candles, since: np.datetime64, times: float) -> Candles:
    """The same bars, with all log price changes from `since` on multiplied."""
    path = np.log(np.column_stack([candles.open, candles.high, candles.low, candles.close]))
    at = int(np.searchsorted(candles.ts_utc, since))
    anchor = path[at - 1, 3]
    path[at:] = anchor + times * (path[at:] - anchor)
    return replace(candles, **dict(zip(("open", "high", "low", "close"), np.exp(path).T.copy(), strict=True)))


@lru_cache(maxsize=8)
def market(seed: int, weeks: int = 36, tripled_days: int = 0) -> Dataset:
    """A calm market: weekly volatility varies about as much as that of real EURUSD bars."""
    candles = simulate(start=np.datetime64("2023-01-01", "ns"), bars=weeks * 120, seed=seed, clustering=0.3)
    if tripled_days:
        candles = wilder(candles, candles.known_at[-1] - tripled_days * DAY, 3.0)
    return build_dataset(candles, [timeframe("1h")], [60, 240])


def span(dataset: Dataset) -> tuple[np.datetime64, np.datetime64]:
    first = dataset.known_at[int(np.argmax(dataset.usable))]
    return first, first + 25 * WEEK


def forecast_of(dataset: Dataset) -> Forecast:
    """The yardstick as a normal forecast of both horizons."""
    from scipy.stats import norm

    rows = np.flatnonzero(dataset.usable)
    std, text = dataset.yardstick[rows], np.full(len(rows), "v1", dtype=object)
    at = dataset.known_at[rows]
    return Forecast(
        symbol=dataset.symbol, family="test", horizons=dataset.horizons, decided_at=at, made_at=at,
        trained_until=at - WEEK, model_version=text, calibration_version=text,
        origin=np.full(len(rows), "fold", dtype=object), mean=np.zeros(std.shape), std=std,
        quantiles=std[..., None] * norm.ppf(LEVELS),
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), decimals=st.integers(0, 3), inside=st.integers(0, 20))
def test_fast_ks_equals_scipy(seed: int, decimals: int, inside: int) -> None:
    """Ties included, and with the window's own rows taken out of the reference."""
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(seed)
    reference = np.round(rng.standard_normal(60), decimals)
    window = np.round(rng.standard_normal(25) * 1.5 + 0.3, decimals)
    found = ks_against_sorted(np.sort(reference), np.sort(reference[:inside]), np.sort(window))
    assert found == pytest.approx(ks_2samp(reference[inside:], window).statistic, abs=1e-12)


def test_alibi_gives_the_same_statistics(capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(5)
    reference, window = rng.standard_normal((300, 4)), rng.standard_normal((120, 4)) * [1, 1.3, 2, 1]
    own, other = ScipyDetector(), detector("alibi")
    np.testing.assert_allclose(own.ks(reference, window), other.ks(reference, window), atol=1e-6)
    sigma = median_bandwidth(reference)
    assert own.mmd2(reference, window, sigma) == pytest.approx(other.mmd2(reference, window, sigma), abs=1e-6)
    assert own.mmd2(reference, window, sigma) > 0.01
    assert capfd.readouterr().out == ""


def test_gumbel_quantile_recovers_a_gumbel() -> None:
    sample = np.random.default_rng(0).gumbel(3.0, 0.5, 200_000)
    assert gumbel_quantile(sample, 0.99) == pytest.approx(3 - 0.5 * np.log(-np.log(0.99)), rel=0.01)


def test_calm_weeks_stay_calm_and_plain_p_values_would_not() -> None:
    calm, firing, judged = 0, 0, 0
    for seed in (1, 2):
        dataset = market(seed)
        start, end = span(dataset)
        reference = build_reference(drift_table(dataset, CONFIG), start, end, CONFIG, 0)
        table = drift_table(dataset, CONFIG)
        for now in np.arange(end + WEEK, dataset.known_at[-1], WEEK):
            verdict = judge(reference, table, now, CONFIG)
            judged, calm = judged + 1, calm + (not verdict.drifted)
            firing += verdict.bonferroni_p < 0.05
    assert judged >= 10
    assert calm >= judged - 1
    assert firing > judged / 2


def test_tripled_volatility_is_an_alarm_and_an_onset_once() -> None:
    dataset = market(3, tripled_days=8)
    now = dataset.known_at[-1]
    before = assess_drift(dataset, span(dataset), now - 8 * DAY, CONFIG)
    assert not before.drifted
    first = assess_drift(dataset, span(dataset), now - DAY, CONFIG, before)
    assert first.drifted
    assert first.onset
    second = assess_drift(dataset, span(dataset), now, CONFIG, first)
    assert second.drifted
    assert not second.onset
    assert first.statistic > 1.3 * first.threshold
    assert first.top[0].score == first.statistic
    assert "drift begins" in first.summary
    assert DriftVerdict.from_dict(json.loads(json.dumps(first.to_dict(), allow_nan=False))) == first


def test_backends_give_the_same_verdict() -> None:
    dataset = market(3, tripled_days=8)
    forecast = forecast_of(dataset)
    own, other = (
        assess_drift(dataset, span(dataset), dataset.known_at[-1], replaced, forecast=forecast)
        for replaced in (CONFIG, CONFIG.model_copy(update={"backend": "alibi"}))
    )
    assert own.drifted == other.drifted
    assert own.statistic == pytest.approx(other.statistic, abs=1e-4)
    assert [part.name for part in own.parts] == ["features", "predictions", "residuals", "pit"]
    for mine, theirs in zip(own.parts, other.parts, strict=True):
        assert mine.statistic == pytest.approx(theirs.statistic, abs=1e-4)


def test_predictions_alone_can_raise_the_alarm() -> None:
    dataset = market(1)
    forecast = forecast_of(dataset)
    calm = assess_drift(dataset, span(dataset), dataset.known_at[-1], CONFIG, forecast=forecast)
    assert not calm.drifted
    late = forecast.decided_at > dataset.known_at[-1] - WEEK
    shifted = replace(
        forecast,
        std=forecast.std * np.where(late, 4.0, 1.0)[:, None],
        quantiles=forecast.quantiles * np.where(late, 4.0, 1.0)[:, None, None],
    )
    wild = assess_drift(dataset, span(dataset), dataset.known_at[-1], CONFIG, forecast=shifted)
    assert wild.drifted
    assert wild.statistic == calm.statistic
    assert {part.name for part in wild.parts if part.drifted} >= {"predictions", "pit"}


def test_the_future_is_not_read() -> None:
    wild, calm = market(3, tripled_days=8), market(3)
    now = calm.known_at[-1] - 9 * DAY
    assert assess_drift(wild, span(wild), now, CONFIG) == assess_drift(calm, span(calm), now, CONFIG)


def test_calendar_and_constant_columns_are_not_judged() -> None:
    dataset = market(1)
    names = reference_of(dataset, span(dataset), dataset.known_at[-1], CONFIG, 0).features.names
    assert {"abs_return", "surprise", "rsi_1h_14"} <= set(names)
    assert not [
        n
        for n in names
        if n.startswith(("hour_", "weekday_", "london_", "tokyo_", "week_left", "month_", "minute_", "cal_"))
    ]


def test_reference_survives_the_disk(tmp_path: Path) -> None:
    dataset = market(3, tripled_days=8)
    forecast = forecast_of(dataset)
    now = dataset.known_at[-1]
    made = reference_of(dataset, span(dataset), now, CONFIG, 0, forecast)
    made.save(tmp_path)
    read = DriftReference.load(tmp_path)
    table, said = drift_table(dataset, CONFIG), said_tables(forecast, Outcomes.from_dataset(dataset))
    assert judge(read, table, now, CONFIG, None, said) == judge(made, table, now, CONFIG, None, said)
    with pytest.raises(DataError, match="No drift reference"):
        DriftReference.load(tmp_path / "elsewhere")


def test_what_cannot_be_judged_says_why() -> None:
    dataset = market(1)
    start, _ = span(dataset)
    with pytest.raises(DataError, match="8 are needed"):
        assess_drift(dataset, (start, start + 5 * WEEK), dataset.known_at[-1], CONFIG)
    late = assess_drift(dataset, span(dataset), dataset.known_at[-1] + 5 * DAY, CONFIG)
    assert not late.drifted
    assert "not judged" in late.summary
    reference = reference_of(dataset, span(dataset), dataset.known_at[-1], CONFIG, 0)
    stranger = replace(drift_table(dataset, CONFIG), symbol="GBPUSD")
    with pytest.raises(DataError, match="was given a table of GBPUSD"):
        judge(reference, stranger, dataset.known_at[-1], CONFIG)


def test_report_is_json_and_in_an_alarm_html(tmp_path: Path) -> None:
    from fxgpt_core.lifecycle.drift.report import write_drift_report

    config = DriftConfig(report_columns=2)
    for days, kinds in ((8, {"json", "html"}), (0, {"json"})):
        dataset = market(3, tripled_days=days)
        now, table = dataset.known_at[-1], drift_table(dataset, config)
        reference = reference_of(dataset, span(dataset), now, config, 0)
        paths = write_drift_report(reference, table, judge(reference, table, now, config), tmp_path, config)
        assert set(paths) == kinds
        assert (tmp_path / "drift.html").exists() == ("html" in kinds)
        content = json.loads(paths["json"].read_text())
        assert content["verdict"]["drifted"] == (days > 0)
        share, *columns = content["evidently"]["metrics"]
        assert len(columns) == 2
        assert (share["value"]["count"] > 0) == (days > 0), "evidently marks what we mark, not what p-values would"
        assert columns[0]["value"] == pytest.approx(content["verdict"]["statistic"])


def test_real_bars_tripled_in_the_last_week_are_an_alarm() -> None:
    candles = sample_candles().take(slice(0, 4200))
    now = candles.known_at[-1]
    calm, wild = (
        build_dataset(bars, [timeframe("1h")], [60, 240, 1440])
        for bars in (candles, wilder(candles, now - 7 * DAY, 3.0))
    )
    since = (calm.known_at[500], calm.known_at[3000])
    with computed_within(3):
        verdict = assess_drift(calm, since, now, CONFIG)
    assert not verdict.drifted
    assert assess_drift(wild, since, now, CONFIG).statistic > 1.2 * verdict.threshold
    assert verdict.bonferroni_p < 1e-10


@pytest.mark.deep
def test_false_alarms_over_many_months() -> None:
    """16 simulated markets x 1.8 months of daily verdicts: months with an alarm stay near the 5 % asked for."""
    alarms, months = 0, 0.0
    for seed in range(100, 116):
        dataset = market(seed, weeks=40)
        start, end = span(dataset)
        reference = build_reference(drift_table(dataset, CONFIG), start, end, CONFIG, 0)
        table, previous = drift_table(dataset, CONFIG), None
        for now in np.arange(end + WEEK, dataset.known_at[-1], DAY):
            previous = judge(reference, table, now, CONFIG, previous)
            alarms += previous.onset
            months += 1 / 30.44
    assert months > 25
    assert alarms / months < 0.15


def test_a_column_that_stops_being_known_is_drift() -> None:
    """A missing value is a value of its own: a column that fails must not take the window's rows with it."""
    dataset = market(1)
    table, now = drift_table(dataset, CONFIG), dataset.known_at[-1]
    reference = build_reference(table, *span(dataset), CONFIG, 0)
    assert not judge(reference, table, now, CONFIG).drifted
    values = table.values.copy()
    values[table.known_at > now - 4 * DAY, table.names.index("rsi_1h_14")] = np.nan
    verdict = judge(reference, replace(table, values=values), now, CONFIG)
    assert verdict.drifted
    assert verdict.top[0].name == "rsi_1h_14"
    assert verdict.rows == judge(reference, table, now, CONFIG).rows


def test_p_value_is_that_of_scipy() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(2)
    left, right = rng.standard_normal(5000), rng.standard_normal(118) + 0.2
    theirs = ks_2samp(left, right, method="asymp")
    assert ks_p_value(theirs.statistic, 5000, 118) == pytest.approx(theirs.pvalue, rel=1e-9)


def test_verdicts_of_earlier_versions_are_read() -> None:
    """They had no parts, and fields that are gone."""
    dataset = market(1)
    verdict = assess_drift(dataset, span(dataset), dataset.known_at[-1], CONFIG)
    old = {k: v for k, v in verdict.to_dict().items() if k not in {"parts", "notes", "model"}}
    read = DriftVerdict.from_dict(old | {"prediction_mmd": None, "prediction_threshold": None})
    assert read == replace(verdict, parts=(), notes=(), model="")


def test_an_alarm_that_pauses_is_no_new_cause() -> None:
    """Windows that overlap one that drifted hold the same bars: only after a calm week is an alarm news again."""
    dataset = market(3, tripled_days=8)
    now, table = dataset.known_at[-1], drift_table(dataset, CONFIG)
    wild = build_reference(table, *span(dataset), CONFIG, 0, model="EURUSD/1")
    calm = replace(wild, parts={"features": replace(wild.features, threshold=1e9)})
    begun = judge(wild, table, now - 2 * DAY, CONFIG)
    paused = judge(calm, table, now - DAY, CONFIG, begun)
    assert begun.onset
    assert not paused.drifted
    again = judge(wild, table, now, CONFIG, paused)
    assert again.drifted
    assert not again.onset
    long_ago = replace(paused, last_drifted=str((now - 8 * DAY).astype("datetime64[s]")) + "Z")
    assert judge(wild, table, now, CONFIG, long_ago).onset


def test_an_onset_is_relative_to_the_model() -> None:
    """Drift that goes on is no news of the same model, and is news of another one."""
    dataset = market(3, tripled_days=8)
    now = dataset.known_at[-1]
    table = drift_table(dataset, CONFIG)
    first = build_reference(table, *span(dataset), CONFIG, 0, model="EURUSD/1")
    begun = judge(first, table, now - DAY, CONFIG)
    assert begun.onset
    assert not judge(first, table, now, CONFIG, begun).onset
    assert judge(replace(first, model="EURUSD/2"), table, now, CONFIG, begun).onset


@pytest.mark.parametrize("times", [10.0, -1.0])
def test_a_slow_column_in_another_unit_is_drift(times: float) -> None:
    """Its whole week lies beyond the span, as that of a volatile week does: only how far tells the two apart."""
    dataset = market(1)
    table, now = drift_table(dataset, CONFIG), dataset.known_at[-1]
    reference = build_reference(table, *span(dataset), CONFIG, 0, levels=True)
    assert not judge(reference, table, now, CONFIG).drifted
    values = table.values.copy()
    values[table.known_at > now - 7 * DAY, table.names.index("atr_1h_14")] *= times
    verdict = judge(reference, replace(table, values=values), now, CONFIG)
    found = verdict.part("levels")
    assert found is not None
    assert found.drifted
    assert found.lead == "atr_1h_14"
    assert "atr_1h_14" in {column.name for column in verdict.top}
    assert "(most in atr_1h_14)" in verdict.summary


def test_a_window_over_a_holiday_is_judged_or_said_not_to_be() -> None:
    """Two days without bars leave enough to judge and are no drift; four do not."""
    dataset = market(1)
    table, now = drift_table(dataset, CONFIG), dataset.known_at[-1]
    reference = build_reference(table, *span(dataset), CONFIG, 0, levels=True)
    for days, judged in ((2, True), (4, False)):
        at = now - 4 * DAY
        kept = (table.known_at <= at) | (table.known_at > at + days * DAY)
        verdict = judge(reference, table.rows(kept), now, CONFIG)
        assert not verdict.drifted
        assert (verdict.note == "") == judged


def test_redefined_features_are_named() -> None:
    dataset = market(1)
    table = drift_table(dataset, CONFIG)
    reference = build_reference(table, *span(dataset), CONFIG, 0)
    other = replace(table, names=tuple(name.replace("rsi_1h_14", "rsi_1h_15") for name in table.names))
    with pytest.raises(DataError, match=r"rsi_1h_14 of EURUSD are missing"):
        judge(reference, other, dataset.known_at[-1], CONFIG)
