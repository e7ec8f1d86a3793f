"""The live loop on simulated markets: every closed bar once, whatever dies, fails or comes late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from fxgpt_core.common.errors import StoreError
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.lifecycle.alias_moves import SERVING_SINCE
from fxgpt_core.lifecycle.live import forecast_latest
from fxgpt_core.market import calendar
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.policy.live_config import LiveConfig
from fxgpt_core.policy.serving import shadow_answers
from fxgpt_core.store.clock import FixedClock, to_datetime64
from fxgpt_core.store.database import Database
from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.models import ForecastFailure, LiveForecast, OutcomeRow
from tests.lifecycle.live_market import (
    HORIZONS,
    HOUR,
    LAYOUT,
    SPEC,
    TRAINED,
    Desk,
    Folders,
    SimulatedBars,
    market,
    trained,
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    url = f"sqlite:///{tmp_path / 'fxgpt.db'}"
    upgrade(url)
    database = Database(url)
    registry = Folders(tmp_path / "models")
    registry.add("EURUSD", "seasonal_ewma", "champion")
    clock = FixedClock(datetime(2024, 1, 1, tzinfo=UTC))
    yield Desk(database, registry, {"EURUSD": SimulatedBars("EURUSD")}, clock)
    database.close()


def logged(desk: Desk, symbol: str = "EURUSD") -> list[LiveForecast]:
    query = select(LiveForecast).where(LiveForecast.model.has(symbol=symbol))
    with desk.database.reading() as session:
        return list(
            session.scalars(query.order_by(LiveForecast.decided_at, LiveForecast.model_id, LiveForecast.horizon))
        )


def decisions(desk: Desk, symbol: str = "EURUSD", version: str = "1") -> list[np.datetime64]:
    rows = [row for row in logged(desk, symbol) if row.model.mlflow_version == version and row.horizon == HORIZONS[0]]
    return [to_datetime64(row.decided_at) for row in rows]


def closes(first: int, last: int, symbol: str = "EURUSD") -> list[np.datetime64]:
    return list(market(symbol).known_at[first : last + 1])


def test_each_closed_bar_is_forecast_once_and_as_a_batch_would(desk: Desk) -> None:
    with desk.loop() as loop:
        for bar in range(TRAINED + 20, TRAINED + 32):
            desk.at(bar)
            (step,) = loop.step().symbols.values()
            assert (step.live, step.problems) == (1, ())
            assert loop.step().forecasts == 0  # nothing new closed
    assert decisions(desk) == closes(TRAINED + 20, TRAINED + 31)
    assert {row.origin for row in logged(desk)} == {"live"}
    assert all(row.served and row.latency_ms > 0 for row in logged(desk))
    for row in logged(desk):
        assert (row.timeframe, row.device, row.batch) == ("1h", "cpu", 1)
        assert row.context["bars"] == int(np.searchsorted(market("EURUSD").known_at, to_datetime64(row.decided_at))) + 1
        assert row.context["last"]["1h"] == f"{to_datetime64(row.decided_at).astype('datetime64[s]')}Z"
        assert row.context["yardstick"].keys() == {"60", "240"}
    bars = market("EURUSD").take(slice(0, TRAINED + 32))
    expected = forecast_latest(
        trained("EURUSD", "seasonal_ewma"),
        build_dataset(bars, LAYOUT, HORIZONS, SPEC),
        Provenance("EURUSD/1", bars.known_at[-1], "live"),
    )
    last = [row for row in logged(desk) if to_datetime64(row.decided_at) == bars.known_at[-1]]
    np.testing.assert_allclose([row.std for row in last], expected.std[0], rtol=1e-12)
    np.testing.assert_allclose([row.quantiles["0.05"] for row in last], expected.quantile(0.05)[0], rtol=1e-12)


def test_outcomes_are_joined_as_they_become_known(desk: Desk) -> None:
    with desk.loop() as loop:
        for bar in range(TRAINED + 20, TRAINED + 30):
            desk.at(bar)
            loop.step()
    data = build_dataset(market("EURUSD").take(slice(0, TRAINED + 30)), LAYOUT, HORIZONS, SPEC)
    with desk.database.reading() as session:
        found = {(to_datetime64(o.decided_at), o.horizon): o for o in session.scalars(select(OutcomeRow))}
    expected = {}
    for row in range(TRAINED + 20, TRAINED + 30):
        for column, horizon in enumerate(HORIZONS):
            if data.mask[row, column] and data.label_end[row, column] <= data.known_at[-1]:
                expected[data.known_at[row], horizon] = data.returns()[row, column]
    assert len(expected) >= 14
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].log_return == pytest.approx(value)
        assert to_datetime64(found[key].known_at) > key[0]


def test_bars_that_fail_their_limits_are_forecast_when_they_are_mended_and_serve_nobody(desk: Desk) -> None:
    bars = desk.bars["EURUSD"] = replace(desk.bars["EURUSD"], unfit=True)
    with desk.loop() as loop:
        for bar in (TRAINED + 20, TRAINED + 21, TRAINED + 25):
            desk.at(bar)
            (step,) = loop.step().symbols.values()
            assert (step.live, step.backfilled) == (0, 0)
            assert "not good enough" in step.problems[0]
    assert logged(desk) == []
    desk.bars["EURUSD"] = replace(bars, unfit=False)
    with desk.loop() as loop:
        loop.step()
    assert closes(TRAINED + 25, TRAINED + 25) == decisions(desk)


@pytest.mark.parametrize("hours", [6.0, 1000.0])
def test_bars_missed_by_a_dead_process_are_backfilled_or_skipped_and_nothing_is_double(
    desk: Desk, hours: float
) -> None:
    desk.config = LiveConfig(backfill_hours=hours)
    desk.at(TRAINED + 20)
    loop = desk.loop()
    loop.step()  # and dies without closing
    desk.at(TRAINED + 60)
    with desk.loop() as restarted:
        (step,) = restarted.step().symbols.values()
        assert restarted.step().forecasts == 0
    missed = closes(TRAINED + 21, TRAINED + 60)
    age = calendar.trading_minutes_between(np.array(missed), missed[-1])
    kept = [moment for moment, old in zip(missed, age, strict=True) if old <= hours * 60]
    assert decisions(desk) == [market("EURUSD").known_at[TRAINED + 20], *kept]
    assert (step.live, step.backfilled, step.skipped) == (1, len(kept) - 1, len(missed) - len(kept))
    origins = {to_datetime64(row.decided_at): (row.origin, row.served) for row in logged(desk)}
    assert origins[missed[-1]] == ("live", True)
    assert {origins[moment] for moment in kept[:-1]} == {("backfill", False)}


def test_a_bad_bar_is_one_failure_and_the_next_bar_goes_on(desk: Desk) -> None:
    broken = market("EURUSD").known_at[TRAINED + 22]
    desk.bars["EURUSD"].broken = (broken,)
    with desk.loop() as loop:
        desk.at(TRAINED + 21)
        loop.step()
        desk.at(TRAINED + 22)
        (step,) = loop.step().symbols.values()
        assert step.failed == 1
        assert "is broken" in step.problems[0]
        desk.bars["EURUSD"].broken = ()
        desk.at(TRAINED + 23)
        assert loop.step().forecasts == 1
    assert broken not in decisions(desk)
    with desk.database.reading() as session:
        (failure,) = session.scalars(select(ForecastFailure)).all()
    assert (failure.version, to_datetime64(failure.decided_at)) == ("1", broken)


def test_one_symbols_trouble_stops_no_other(desk: Desk) -> None:
    for symbol in ("GBPUSD", "USDJPY", "AUDUSD"):
        desk.bars[symbol] = SimulatedBars(symbol)
    desk.registry.add("GBPUSD", "ewma", "champion")
    damaged = desk.registry.add("USDJPY", "ewma", "champion")
    (desk.registry.folder(damaged) / "card.json").write_text("{}")
    desk.at(TRAINED + 20)
    with desk.loop() as loop:
        step = loop.step()
    said = {name: " ".join(one.problems) for name, one in step.symbols.items()}
    assert "has no champion" in said.pop("AUDUSD")
    assert "missing or damaged" in said.pop("USDJPY")
    assert set(said.values()) == {""}
    assert step.forecasts == 2


def test_two_loops_do_not_work_on_one_symbol(desk: Desk) -> None:
    held: set[str] = set()

    @contextmanager
    def lease(symbol: str) -> Iterator[None]:
        if symbol in held:
            raise StoreError(f"Another live loop works on {symbol}.")
        held.add(symbol)
        yield
        held.remove(symbol)

    desk.at(TRAINED + 20)
    with desk.loop(lease) as first, desk.loop(lease) as second:
        assert first.step().forecasts == 1
        assert "Another live loop" in second.step().problems[0]
        desk.at(TRAINED + 21)
        assert second.step().forecasts == 0
        first.close()
        assert second.step().forecasts == 1
    assert not held


def test_champion_and_shadow_are_both_logged_and_one_of_them_serves(desk: Desk) -> None:
    desk.config = LiveConfig(shadow_share=0.5)
    with desk.loop() as loop:
        desk.at(TRAINED + 20)
        loop.step()
        desk.registry.add("EURUSD", "ewma", "shadow", desk.clock.now())
        for bar in range(TRAINED + 21, TRAINED + 45):
            desk.at(bar)
            loop.step()
    assert decisions(desk) == closes(TRAINED + 20, TRAINED + 44)
    assert decisions(desk, version="2") == closes(TRAINED + 21, TRAINED + 44)
    served = {
        (to_datetime64(row.decided_at), row.horizon): row.model.mlflow_version for row in logged(desk) if row.served
    }
    assert len(served) == 25 * len(HORIZONS)
    for (moment, _), version in served.items():
        shadow = moment > closes(TRAINED + 20, TRAINED + 20)[0] and shadow_answers("EURUSD", moment, 0.5)
        assert version == ("2" if shadow else "1")
    assert set(served.values()) == {"1", "2"}


def test_a_new_champion_takes_over_at_the_next_bar(desk: Desk) -> None:
    with desk.loop() as loop:
        desk.at(TRAINED + 20)
        loop.step()
        desk.registry.add("EURUSD", "ewma", "champion", desk.clock.now())
        desk.at(TRAINED + 21)
        loop.step()
    assert decisions(desk) == closes(TRAINED + 20, TRAINED + 20)
    assert decisions(desk, version="2") == closes(TRAINED + 21, TRAINED + 21)


def test_a_version_that_comes_back_owes_what_it_has_not_forecast_since(desk: Desk) -> None:
    first = desk.registry.held["EURUSD"][0]
    with desk.loop() as loop:
        desk.at(TRAINED + 20)
        loop.step()
        desk.registry.add("EURUSD", "ewma", "champion", desk.clock.now())
        desk.at(TRAINED + 25)
        loop.step()
        desk.registry.held["EURUSD"] = [first]
        loop.step()
    assert decisions(desk) == closes(TRAINED + 20, TRAINED + 25)


def test_a_shadow_that_became_champion_while_nothing_ran_owes_what_it_missed_as_shadow(desk: Desk) -> None:
    desk.at(TRAINED + 20)
    shadow = desk.registry.add("EURUSD", "ewma", "shadow", desk.clock.now())
    with desk.loop() as loop:
        loop.step()
    since = shadow.tags["shadow_at"]
    desk.at(TRAINED + 23)
    tags = {**shadow.tags, "champion_at": desk.clock.now().isoformat(), SERVING_SINCE: since}
    desk.registry.held["EURUSD"] = [replace(shadow, aliases=("champion",), tags=tags)]
    desk.at(TRAINED + 25)
    with desk.loop() as again:
        again.step()
    assert decisions(desk, version="2") == closes(TRAINED + 20, TRAINED + 25)


def test_without_the_registry_the_champion_goes_on(desk: Desk) -> None:
    with desk.loop() as loop:
        desk.at(TRAINED + 20)
        loop.step()
        desk.registry.down = True
        desk.at(TRAINED + 21)
        step = loop.step()
    assert "out of reach" in step.problems[0]
    assert step.forecasts == 1
    with desk.loop() as again:  # a process that never saw the registry
        desk.at(TRAINED + 22)
        assert again.step().forecasts == 1


def test_what_could_not_be_logged_is_logged_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from fxgpt_core.lifecycle import live_symbol

    def refuse(*_: object) -> int:
        raise StoreError("Database is read-only.")

    with desk.loop() as loop:
        desk.at(TRAINED + 20)
        loop.step()
        with monkeypatch.context() as broken:
            broken.setattr(live_symbol, "save_forecasts", refuse)
            desk.at(TRAINED + 21)
            assert "read-only" in loop.step().problems[0]
        desk.at(TRAINED + 22)
        assert loop.step().problems == ()
    assert decisions(desk) == closes(TRAINED + 20, TRAINED + 22)


def test_an_expired_model_stops_and_says_so(desk: Desk) -> None:
    desk.config = LiveConfig(expires_days_of={"seasonal_ewma": 5.0})
    (version,) = desk.registry.held["EURUSD"]
    last = np.datetime64(version.tags["trained_until"]) + np.timedelta64(5, "D")
    first = int(np.searchsorted(market("EURUSD").known_at, last, side="right"))
    with desk.loop() as loop:
        desk.at(first - 1)
        assert loop.step().forecasts == 1
        desk.at(first)
        step = loop.step()
    assert step.forecasts == 0
    assert "seasonal_ewma has expired" in step.problems[0]
    assert "live.expires_days" in step.problems[0]
    assert decisions(desk) == [market("EURUSD").known_at[first - 1]]


def test_where_the_champion_has_expired_what_its_shadow_answers_is_what_was_served(desk: Desk) -> None:
    desk.config = LiveConfig(expires_days_of={"seasonal_ewma": 5.0}, shadow_share=0.1)
    (version,) = desk.registry.held["EURUSD"]
    last = np.datetime64(version.tags["trained_until"]) + np.timedelta64(5, "D")
    first = int(np.searchsorted(market("EURUSD").known_at, last, side="right"))
    desk.at(first - 1)
    desk.registry.add("EURUSD", "ewma", "shadow", desk.clock.now())
    with desk.loop() as loop:
        for bar in range(first, first + 12):
            desk.at(bar)
            loop.step()
    rows = logged(desk)
    assert {row.model.mlflow_version for row in rows} == {"2"}
    assert len(rows) == 12 * len(HORIZONS)
    assert all(row.served for row in rows)


def test_a_missing_bar_is_no_decision(desk: Desk) -> None:
    gap = market("EURUSD").known_at[TRAINED + 22]
    desk.bars["EURUSD"] = replace(desk.bars["EURUSD"], missing=(gap,))
    with desk.loop() as loop:
        for bar in range(TRAINED + 21, TRAINED + 24):
            desk.at(bar)
            loop.step()
    assert decisions(desk) == [gap - HOUR, gap + HOUR]


@pytest.mark.parametrize("novelty", ["off", "flag", "refuse"])
def test_a_row_unlike_the_training_span_is_flagged_or_refused(desk: Desk, novelty: str) -> None:
    usual = trained("EURUSD", "seasonal_ewma")
    assert usual.novelty is not None
    strange = replace(
        usual, novelty=replace(usual.novelty, low=usual.novelty.high + 1.0, high=usual.novelty.high + 2.0)
    )
    desk.registry.held.clear()
    desk.registry.add("EURUSD", "seasonal_ewma", "champion", bundle=strange)
    desk.config = LiveConfig(novelty=novelty)  # type: ignore[arg-type]
    desk.at(TRAINED + 20)
    with desk.loop() as loop:
        (step,) = loop.step().symbols.values()
    assert ("as far from the training distribution" in " ".join(step.problems)) == (novelty != "off")
    assert (step.live, step.refused) == ((0, 1) if novelty == "refuse" else (1, 0))
    assert all(row.novelty is not None and row.novelty > 1 for row in logged(desk))
    assert len(logged(desk)) == (0 if novelty == "refuse" else len(HORIZONS))


def test_usual_rows_are_not_novel(desk: Desk) -> None:
    with desk.loop() as loop:
        for bar in range(TRAINED + 20, TRAINED + 40):
            desk.at(bar)
            loop.step()
    novelty = [row.novelty for row in logged(desk)]
    assert all(found is not None and 0 <= found < 3 for found in novelty)
    assert np.median([found for found in novelty if found is not None]) < 1
