"""What an adaptive calibrator learns live equals walk-forward calibration, whatever happens on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.calibration.conformal import ConformalCalibrator
from fxgpt_core.calibration.walk_forward import fit_final, walk_forward_calibration
from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import final_split
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.lifecycle.bundle import Bundle, Card, load_bundle, save_bundle
from fxgpt_core.lifecycle.live import forecast_latest
from fxgpt_core.lifecycle.online_calibration import calibrator_states, caught_up
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.models.forecaster import Provenance
from fxgpt_core.models.registry import family
from fxgpt_core.store.database import Database
from fxgpt_core.store.migrate import upgrade
from fxgpt_core.store.models import StateRow
from fxgpt_core.store.states import StateStore
from fxgpt_core.training.plan import TrainingPlan

BARS, EARLY, LIVE, END = 1500, 900, 1440, 1475
"""The earlier model knows the bars before EARLY and forecasts those up to LIVE, the last one that the registered model
knows; from the next one on that one forecasts, up to END."""
SPEC, HORIZONS, FAMILY = FeatureSpec(groups=("ohlc",)), (60, 240), "seasonal_ewma"


def dataset(stop: int) -> Dataset:
    """Return what is known when bar `stop` - 1 closes."""
    bars = simulate("EURUSD", "1h", start=np.datetime64("2024-01-01"), bars=BARS, seed=5)
    frame = bars.to_frame().iloc[:stop]
    candles = type(bars).from_frame(frame, "EURUSD", "1h", "mid")
    return build_dataset(candles, (timeframe("1h"),), HORIZONS, SPEC)


known = cache(dataset)


@dataclass(frozen=True)
class Registered:
    """A bundle with an adaptive calibrator, and the same span forecast and calibrated at once."""

    bundle: Bundle
    expected: Forecast


@cache
def registered(method: str = "dtaci") -> Registered:
    config, entry, whole = CalibrationConfig(method=method), family(FAMILY), known(END)  # type: ignore[arg-type]
    earlier, own = (entry.create(entry.config({})) for _ in range(2))
    for model, until in ((earlier, EARLY), (own, LIVE + 1)):
        past = known(until)
        model.fit(past.with_split(final_split(past, WalkForwardConfig())), TrainingPlan(1))
    provenance = Provenance("m", whole.known_at[-1], "fold")
    first = earlier.forecast(whole, np.arange(EARLY, LIVE + 1), provenance)
    later = own.forecast(whole, np.arange(LIVE + 1, END), replace(provenance, origin="live"))
    folds = np.repeat([0, 1], [LIVE - EARLY, END - LIVE])
    expected, _ = walk_forward_calibration(concat([first, later]), Outcomes.from_dataset(whole), folds, config)
    calibrator = fit_final(first, Outcomes.from_dataset(known(LIVE + 1)), config)
    card = Card(
        symbol="EURUSD",
        family=FAMILY,
        fingerprint="f",
        trained_until=str(whole.known_at[LIVE]),
        timeframes=("1h",),
        horizons=HORIZONS,
        price_side="mid",
        config={},
        features=SPEC.model_dump(mode="json"),
        feature_hash=whole.definition_hash,
    )
    return Registered(Bundle(card, own, calibrator), expected)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'fxgpt.db'}"
    upgrade(url)
    made = Database(url)
    yield made
    made.close()


def states(database: Database, bundle: Bundle, version: str = "7") -> StateStore:
    found = calibrator_states(database, bundle, version)
    assert found is not None
    return found


def forecast(database: Database, bundle: Bundle, bar: int, version: str = "7") -> Forecast:
    """Forecast at the close of a bar as a process does that has just begun."""
    data = known(bar + 1)
    ready = caught_up(bundle, data, states(database, bundle, version))
    return forecast_latest(ready, data, Provenance("m", data.known_at[-1], "live"))


def assert_same(made: Forecast, expected: Forecast) -> None:
    np.testing.assert_array_equal(made.decided_at, expected.decided_at)
    np.testing.assert_array_equal(made.quantiles, expected.quantiles)
    np.testing.assert_array_equal(made.std, expected.std)
    assert list(made.calibration_version) == list(expected.calibration_version)


@pytest.mark.parametrize("method", ["aci", "dtaci"])
def test_learning_bar_by_bar_with_restarts_equals_walk_forward_calibration_to_the_bit(
    method: str, database: Database, tmp_path: Path
) -> None:
    case = registered(method)
    save_bundle(case.bundle, tmp_path / "bundle")
    for bar in range(LIVE + 1, END):
        bundle = load_bundle(tmp_path / "bundle") if bar % 7 == 0 else case.bundle
        assert_same(forecast(database, bundle, bar), case.expected.take(slice(bar - LIVE, bar - LIVE + 1)))
    versions = list(case.expected.calibration_version)
    assert versions[0] == case.bundle.calibrator.version  # type: ignore[union-attr]
    assert versions[-1].endswith(f"+{2 * (END - LIVE - 1)}"), "an outcome of each horizon became known with each bar"
    assert len({quantiles.tobytes() for quantiles in case.expected.quantiles[:, 0, 0]}) == END - LIVE


def test_a_pause_is_caught_up_in_bulk(database: Database) -> None:
    case = registered()
    for bar in (LIVE + 1, LIVE + 2, LIVE + 19, END - 1):
        assert_same(forecast(database, case.bundle, bar), case.expected.take(slice(bar - LIVE, bar - LIVE + 1)))


def test_the_same_bar_twice_changes_nothing(database: Database) -> None:
    case = registered()
    first = forecast(database, case.bundle, LIVE + 5)
    saved = states(database, case.bundle).latest()
    assert_same(forecast(database, case.bundle, LIVE + 5), first)
    assert states(database, case.bundle).latest() == saved
    assert saved is not None
    assert saved.number == 1


def test_killed_before_the_state_is_saved_nothing_is_lost(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    case = registered()
    forecast(database, case.bundle, LIVE + 3)

    def killed(*_args: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(StateStore, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        forecast(database, case.bundle, LIVE + 4)
    monkeypatch.undo()
    for bar in (LIVE + 4, LIVE + 5):
        assert_same(forecast(database, case.bundle, bar), case.expected.take(slice(bar - LIVE, bar - LIVE + 1)))


def test_of_two_processes_at_once_one_saves_and_both_are_right(database: Database) -> None:
    case, made = registered(), list[Forecast]()
    forecast(database, case.bundle, LIVE + 2)
    [known(bar + 1) for bar in (LIVE + 8, LIVE + 9)]
    begin = threading.Barrier(4)

    def work(bar: int) -> None:
        begin.wait()
        made.append(forecast(database, case.bundle, bar))

    threads = [threading.Thread(target=work, args=(bar,)) for bar in (LIVE + 8, LIVE + 8, LIVE + 9, LIVE + 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in made:
        bar = int(np.flatnonzero(case.expected.decided_at == each.decided_at[0])[0])
        assert_same(each, case.expected.take(slice(bar, bar + 1)))
    assert len(made) == 4
    assert_same(forecast(database, case.bundle, LIVE + 12), case.expected.take(slice(12, 13)))


def test_an_older_moment_is_answered_with_what_was_known_then(database: Database) -> None:
    case = registered()
    for bar in (LIVE + 2, LIVE + 6):
        forecast(database, case.bundle, bar)
    assert_same(forecast(database, case.bundle, LIVE + 4), case.expected.take(slice(4, 5)))
    newest = states(database, case.bundle).latest()
    assert newest is not None
    assert newest.as_of == known(LIVE + 7).known_at[-1]


def test_every_version_has_its_own_state_and_takes_it_up_after_a_rollback(database: Database) -> None:
    old, new = registered("aci"), registered("dtaci")
    forecast(database, old.bundle, LIVE + 4, version="1")
    for bar in (LIVE + 4, LIVE + 9):
        forecast(database, new.bundle, bar, version="2")
    back = forecast(database, old.bundle, LIVE + 10, version="1")
    assert_same(back, old.expected.take(slice(10, 11)))
    with database.reading() as session:
        numbers = session.execute(sa.select(StateRow.version, StateRow.number).order_by(StateRow.id)).all()
    assert [version.partition(":")[0] for version, _ in numbers] == ["1", "2", "2", "1"]
    assert [number for _, number in numbers] == [1, 1, 2, 2]


def test_static_calibrators_keep_no_state(database: Database) -> None:
    bundle = registered().bundle
    tracked = bundle.calibrator
    assert isinstance(tracked, ConformalCalibrator)
    for calibrator in (None, replace(tracked, tracker=None, pending=None, method="split")):
        static = replace(bundle, calibrator=calibrator)
        assert calibrator_states(database, static, "7") is None
        assert caught_up(static, known(LIVE + 2), None) is static


def test_forecasts_still_without_outcome_at_registration_are_learnt_from_the_model_that_made_them() -> None:
    calibrator = registered().bundle.calibrator
    assert calibrator is not None
    assert calibrator.pending is not None
    # At the close of bar LIVE the 4h outcomes of its own decision and of the three before it are open.
    np.testing.assert_array_equal(calibrator.pending.decided_at, known(END).known_at[LIVE - 3 : LIVE + 1])
    assert set(calibrator.pending.origin) == {"fold"}
