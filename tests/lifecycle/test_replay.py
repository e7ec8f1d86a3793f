"""The retraining rule along history: nothing is known before its time, and a killed replay carries on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation.split_config import PurgeConfig
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.replay.audit import out_of_turn
from fxgpt_core.lifecycle.replay.history import History, ReplaySettings, configuration_hash
from fxgpt_core.lifecycle.replay.replay import replay_retraining
from fxgpt_core.lifecycle.replay.segments import CALIBRATED, DECISIONS, RAW, Segment, SegmentStore, joined
from fxgpt_core.lifecycle.replay.steps import decision_bars, retraining_split
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.models.registry import FAMILIES, FamilyEntry
from fxgpt_core.policy.config import ReplayConfig, RetrainingConfig
from fxgpt_core.policy.decision import Decision
from fxgpt_core.store.clock import FixedClock
from fxgpt_core.training.plan import plan_training
from tests.models.tabular_data import HORIZONS, LAYOUT

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2023-01-02", "ns"), bars=1900, seed=1, clustering=0.2)
EWMA = FAMILIES["ewma"]
DAY = np.timedelta64(1, "D")
CLOCK = FixedClock(datetime(2024, 1, 1, tzinfo=UTC))
PLAN = plan_training(1, None, accelerated=False)
SETTINGS = ReplaySettings(
    begin=np.datetime64("2023-02-28T12:00", "ns"),
    retraining=RetrainingConfig.model_validate(
        {"every_days": 8, "train_months": 2, "degradation": {"first_days": 1, "min_effective": 8}}
    ),
    purge=PurgeConfig(min_train_rows=50),
    calibration=CalibrationConfig(min_rows=50),
    drift=DriftConfig(min_windows=4, include=("high_open_*",)),
    seed=3,
)


def build(candles: Candles) -> Dataset:
    return build_dataset(candles, LAYOUT, HORIZONS, FeatureSpec(groups=("ohlc",)))


@lru_cache
def whole() -> Dataset:
    return build(CANDLES)


def live(
    folder: Path,
    dataset: Dataset,
    settings: ReplaySettings = SETTINGS,
    started: Callable[[np.datetime64], None] = lambda _: None,
) -> list[Segment]:
    config = EWMA.config({})
    store = SegmentStore(Lake(folder), dataset.symbol, "ewma", configuration_hash(EWMA, config, settings))
    return replay_retraining(History(dataset, EWMA, config, settings), store, PLAN, CLOCK, started=started)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> list[Segment]:
    return live(tmp_path_factory.mktemp("lived"), whole())


def decided(segments: list[Segment]) -> list[Decision]:
    return [decision for segment in segments for decision in segment.decisions]


def same(one: list[Segment], other: list[Segment]) -> None:
    """Expect the same, but for the seconds that the trainings took."""
    assert [replace(s.record, seconds=0) for s in one] == [replace(s.record, seconds=0) for s in other]
    assert [d.to_dict() for d in decided(one)] == [d.to_dict() for d in decided(other)]
    for mine, theirs in zip(joined(one, "EURUSD", "ewma"), joined(other, "EURUSD", "ewma"), strict=True):
        assert mine.to_frame().equals(theirs.to_frame())


def test_every_row_was_trained_before_it_was_decided(lived: list[Segment]) -> None:
    raw, calibrated = joined(lived, "EURUSD", "ewma")
    for forecast in (raw, calibrated):
        assert (forecast.trained_until < forecast.decided_at).all()
    assert len(set(raw.model_version)) == len(lived) > 4
    for segment in lived:
        assert segment.raw is not None
        assert np.datetime64(segment.record.trained_at) < segment.raw.decided_at[0]
        assert (segment.raw.model_version == segment.record.version).all()
    np.testing.assert_array_equal(raw.decided_at, whole().known_at[lived[0].record.first_bar + 1 :])
    assert (calibrated.calibration_version != "").all()


def test_rows_that_another_version_should_have_made_are_found(lived: list[Segment]) -> None:
    assert out_of_turn(lived) == []
    first, second, *_ = lived
    assert first.raw is not None
    assert second.raw is not None
    knowing = replace(second, raw=replace(second.raw, trained_until=second.raw.decided_at))
    assert f"of version {second.record.version} rest on labels of their own time" in out_of_turn([first, knowing])[0]
    at = second.raw.decided_at - 9 * DAY
    early = replace(second, raw=replace(second.raw, decided_at=at, trained_until=at - DAY))
    assert f"of version {second.record.version} are older than its training" in " ".join(out_of_turn([first, early]))
    late = replace(first, raw=replace(first.raw, decided_at=first.raw.decided_at + 9 * DAY))
    assert f"of version {first.record.version} were made after the next" in out_of_turn([late, second])[0]
    named = np.full(len(first.raw), "ewma@another", dtype=object)
    assert out_of_turn([replace(first, raw=replace(first.raw, model_version=named)), second])[0].startswith(
        f"{len(first.raw)} forecasts among those of version {first.record.version} name another"
    )


def test_the_schedule_asks_again_and_every_decision_has_its_reason(lived: list[Segment]) -> None:
    assert lived[0].record.reasons == ("Asked for by a person.",)
    assert lived[-1].record.open
    for earlier, later in pairwise(lived):
        assert earlier.decisions[-1].what == "retrain"
        assert later.record.reasons == earlier.decisions[-1].reasons
        assert str(earlier.decisions[-1].at) == later.record.trained_at
        assert all(decision.what != "retrain" for decision in earlier.decisions[:-1])
    asked = [decision for decision in decided(lived) if decision.what == "retrain"]
    assert all("days ago, limit 8" in " ".join(d.reasons) or d.cause for d in asked)
    assert all(decision.evidence["new_labels"] > 0 for decision in asked)


def test_files_say_which_version_made_them_and_duckdb_reads_them(tmp_path: Path) -> None:
    segments, lake = live(tmp_path, whole()), Lake(tmp_path)
    last = segments[-1].record
    for dataset in (RAW, CALIBRATED, DECISIONS):
        (keys,) = lake.keys(RAW)
        facts = lake.read(dataset, keys, [last.part]).schema.metadata
        assert facts[b"model_version"].decode() == last.version
        assert facts[b"trained_until"].decode() == last.trained_until
    late = "select count(*) as n from retrained where trained_until >= decided_at"
    assert lake.query(late).to_pylist() == [{"n": 0}]
    asked = lake.query(
        "select count(distinct decided_at) as n from retraining_decisions where what = 'retrain'"
    ).to_pylist()
    assert asked == [{"n": len(segments) - 1}]


class Killed(BaseException):
    """Ends a replay as a signal would: no handler of errors sees it."""


def kill_at(training: int) -> Callable[[np.datetime64], None]:
    seen: list[np.datetime64] = []

    def started(at: np.datetime64) -> None:
        seen.append(at)
        if len(seen) == training:
            raise Killed

    return started


def test_a_killed_replay_carries_on_and_gives_the_same_rows(tmp_path: Path, lived: list[Segment]) -> None:
    with pytest.raises(Killed):
        live(tmp_path, whole(), started=kill_at(3))
    trained: list[np.datetime64] = []
    same(live(tmp_path, whole(), started=trained.append), lived)
    assert len(trained) == len(lived) - 2
    again: list[np.datetime64] = []
    same(live(tmp_path, whole(), started=again.append), lived)
    assert not again


@pytest.mark.deep
@pytest.mark.parametrize("versions", [1, 3])
def test_a_replay_killed_by_a_signal_carries_on(tmp_path: Path, lived: list[Segment], versions: int) -> None:
    root = Path(__file__).parents[2]
    code = (
        "import sys; from pathlib import Path; from tests.lifecycle.test_replay import live, whole; "
        "live(Path(sys.argv[1]), whole())"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=root) as process:
        until = time.monotonic() + 300
        while len(list(tmp_path.rglob("part.parquet"))) < 3 * versions - 1 and time.monotonic() < until:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    trained: list[np.datetime64] = []
    same(live(tmp_path, whole(), started=trained.append), lived)
    assert 0 < len(trained) <= len(lived) - (versions - 1)


def test_killed_between_parts_and_manifest_the_segment_is_made_again(
    tmp_path: Path, lived: list[Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Lake.write

    def dying(lake: Lake, dataset: str, keys: Any, part: str, table: Any) -> None:
        write(lake, dataset, keys, part, table)
        if (dataset, part) == (CALIBRATED, "version=00002"):
            raise Killed

    monkeypatch.setattr(Lake, "write", dying)
    with pytest.raises(Killed):
        live(tmp_path, whole())
    monkeypatch.undo()
    trained: list[np.datetime64] = []
    same(live(tmp_path, whole(), started=trained.append), lived)
    assert str(trained[0]) == lived[2].record.trained_at


def test_later_bars_leave_finished_versions_alone(tmp_path: Path, lived: list[Segment]) -> None:
    earlier = live(tmp_path, build(CANDLES.take(slice(0, 1750))))
    trained: list[np.datetime64] = []
    same(live(tmp_path, whole(), started=trained.append), lived)
    assert str(trained[0]) == earlier[-1].record.trained_at, "only the version that still served is made again"


def changed_after(bar: int) -> Candles:
    """The same bars until `bar`, another market afterwards."""
    rng, end = np.random.default_rng(5), slice(bar, None)
    factor = np.exp(np.concatenate([np.zeros(bar), rng.normal(0, 0.01, len(CANDLES) - bar).cumsum()]))
    assert (factor[end] != 1).all()
    prices = {name: getattr(CANDLES, name) * factor for name in ("open", "high", "low", "close")}
    return replace(CANDLES, **prices)


@pytest.mark.parametrize(("version", "look"), [(2, 4), (4, -1)])
def test_what_happens_later_changes_nothing_before_it(
    tmp_path: Path, lived: list[Segment], version: int, look: int
) -> None:
    """The moment is that of a look, when labels are open whose ends lie in the changed future."""
    moment = lived[version].decisions[look].at
    bar = int(np.searchsorted(CANDLES.known_at, moment)) + 1
    other = live(tmp_path, build(changed_after(bar)))
    for mine, theirs in zip(joined(lived, "EURUSD", "ewma"), joined(other, "EURUSD", "ewma"), strict=True):
        before = [forecast.take(forecast.decided_at <= moment).to_frame() for forecast in (mine, theirs)]
        assert len(before[0]) > 100
        assert before[0].equals(before[1])
        assert not mine.to_frame().equals(theirs.to_frame())
    early = [[d.to_dict() for d in decided(run) if d.at <= moment] for run in (lived, other)]
    assert early[0] == early[1]
    assert early[0][-1]["evidence"]["performance"] is not None


def test_a_changed_bar_makes_again_what_saw_it_and_nothing_before(tmp_path: Path, lived: list[Segment]) -> None:
    live(tmp_path, whole())
    trained: list[np.datetime64] = []
    bar = lived[2].record.last_bar
    live(tmp_path, build(changed_after(bar)), started=trained.append)
    assert str(trained[0]) == lived[2].record.trained_at


def test_configurations_lie_beside_each_other(tmp_path: Path) -> None:
    seldom = replace(SETTINGS, retraining=SETTINGS.retraining.model_copy(update={"every_days": 30.0}))
    families = replace(
        SETTINGS,
        retraining=SETTINGS.retraining.model_copy(update={"replay": ReplayConfig(families=("ewma", "ridge"))}),
    )
    often = live(tmp_path, whole())
    assert len(live(tmp_path, whole(), seldom)) < len(often)
    trained: list[np.datetime64] = []
    live(tmp_path, whole(), started=trained.append)
    live(tmp_path, whole(), families, started=trained.append)
    assert trained == [], "the first is still there, and which families are replayed decides no replay"


def test_symbols_are_replayed_at_once_as_one_by_one(tmp_path: Path, lived: list[Segment]) -> None:
    other = build(replace(CANDLES, symbol="GBPUSD"))
    with ThreadPoolExecutor(2) as pool:
        mine, theirs = pool.map(lambda data: live(tmp_path, data), (whole(), other))
    same(mine, lived)
    assert [s.record.last_bar for s in theirs] == [s.record.last_bar for s in lived]


class Watching:
    """Forecasts by another forecaster, far too wide from `worse` on unless trained after it; notes what it sees."""

    family = "ewma"

    def __init__(self, inner: Any, seen: list[Dataset], worse: np.datetime64) -> None:
        self.inner, self.seen, self.worse = inner, seen, worse

    def fit(self, dataset: Dataset, *rest: Any) -> Any:
        self.seen.append(dataset)
        self.trained_at = dataset.known_at[-1]
        return self.inner.fit(dataset, *rest)

    def forecast(self, dataset: Dataset, *rest: Any) -> Any:
        made = self.inner.forecast(dataset, *rest)
        wide = (made.decided_at > self.worse) & (self.trained_at < self.worse)
        return replace(made, quantiles=np.where(wide[:, None, None], 12.0, 1.0) * made.quantiles)


def watched(monkeypatch: pytest.MonkeyPatch, worse: np.datetime64) -> list[Dataset]:
    seen: list[Dataset] = []
    create = FamilyEntry.create
    monkeypatch.setattr(FamilyEntry, "create", lambda entry, config: Watching(create(entry, config), seen, worse))
    return seen


def test_a_training_is_shown_no_later_bar_or_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watched(monkeypatch, CANDLES.known_at[-1])
    segments = live(tmp_path, whole())
    assert len(seen) == len(segments)
    for segment, data in zip(segments, seen, strict=True):
        assert str(data.known_at[-1]) == segment.record.trained_at
        assert data.split is not None
        used = data.split.train | data.split.validation
        assert data.label_end[used].max() <= np.datetime64(segment.record.trained_until) < data.known_at[-1]
        assert data.known_at[used.any(axis=1)].min() > data.known_at[-1] - np.timedelta64(62, "D")


def with_rule(**values: Any) -> ReplaySettings:
    """The settings with another rule, that of two months to train on."""
    return replace(SETTINGS, retraining=RetrainingConfig.model_validate({"train_months": 2, **values}))


def test_a_version_that_gets_worse_is_replaced_before_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched(monkeypatch, np.datetime64("2023-04-10T00:00"))
    quick = {"first_days": 1, "recent_days": 3, "min_effective": 8}
    # An adaptive calibrator would soon have corrected the width by itself.
    split = CalibrationConfig(min_rows=50, method="split")
    rule = replace(with_rule(every_days=12, degradation=quick), calibration=split)
    segments = live(tmp_path, whole(), rule)
    worse = f"degradation:{segments[3].record.version}"
    assert [segment.record.cause for segment in segments] == ["", "", "", "", worse]
    assert segments[4].record.reasons[0].startswith("The model got worse: ")
    assert "effective outcomes" in segments[4].record.reasons[0]
    assert np.datetime64(segments[4].record.trained_at) < np.datetime64(segments[3].record.trained_at) + 12 * DAY
    demanding = with_rule(every_days=12, degradation={**quick, "min_effective": 1000})
    blind = live(tmp_path, whole(), replace(demanding, calibration=split))
    assert [segment.record.cause for segment in blind] == [""] * 4, "without evidence nothing is judged"


def wilder(after: int, times: float) -> Candles:
    """The same market, so many times as volatile after a bar."""
    factor = np.where(np.arange(len(CANDLES)) > after, times, 1.0)
    steps = np.diff(np.log(CANDLES.close), prepend=np.log(CANDLES.close[0]))
    close = CANDLES.close[0] * np.exp((factor * steps).cumsum())
    opens = np.concatenate([close[:1], close[:-1]])
    reach = np.log(CANDLES.high / CANDLES.low) / 2 * factor
    high, low = np.maximum(opens, close) * np.exp(reach), np.minimum(opens, close) * np.exp(-reach)
    return replace(CANDLES, open=opens, high=high, low=low, close=close)


def test_drift_that_begins_is_answered_once(tmp_path: Path) -> None:
    late = replace(with_rule(every_days=60, on_degradation=False), begin=np.datetime64("2023-03-25T12:00", "ns"))
    segments = live(tmp_path, build(wilder(1560, 4.0)), late)
    causes = [segment.record.cause for segment in segments]
    assert len(causes) == 2
    assert causes[1].startswith("drift:")
    assert "Drift began: EURUSD" in segments[1].record.reasons[0]
    assert np.datetime64(segments[1].record.trained_at) > CANDLES.known_at[1560]
    after = [decision.evidence["drift"] for decision in segments[1].decisions]
    assert not any(news["onset"] for news in after if news), "what goes on is no new cause"
    assert len(live(tmp_path, build(wilder(1899, 4.0)), late)) == 1, "a calm market asks for nothing"


def test_a_history_without_labels_is_refused(tmp_path: Path) -> None:
    late = replace(SETTINGS, begin=CANDLES.known_at[-1])
    with pytest.raises(DataError, match=r"no look between"):
        live(tmp_path, whole(), late)
    needy = replace(SETTINGS, purge=PurgeConfig(min_train_rows=5000))
    with pytest.raises(DataError, match=r"fewer than min_train_rows = 5000"):
        live(tmp_path, whole(), needy)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 48), st.integers(0, 23), st.integers(0, 20))
def test_looks_stay_where_they_are_when_bars_are_added(seed: int, look: int, hour: int, begin: int) -> None:
    config = ReplayConfig(look_hours=look, first_look_hour=hour)
    gaps = np.random.default_rng(seed).choice([1, 2, 5, 49], 60)  # hours, a weekend among them
    known_at = np.datetime64("2024-01-01", "ns") + np.cumsum(gaps) * np.timedelta64(3_600_000_000_000, "ns")
    start = known_at[0] + np.timedelta64(begin, "h")
    later = decision_bars(known_at, start, config)
    assert (np.diff(later) > 0).all()
    assert (known_at[later] >= start).all()
    for cut in range(len(known_at)):
        earlier = decision_bars(known_at[:cut], start, config)
        np.testing.assert_array_equal(earlier, later[: len(earlier)])


def test_the_split_ends_before_the_embargo_and_spans_the_months() -> None:
    split = retraining_split(whole(), 1500, 1.0, PurgeConfig(min_train_rows=50))
    data = whole().head(1501)
    assert split.trained_until == data.known_at[-1] - np.timedelta64(2, "D")
    assert split.validation.any()
    assert not split.test.any()
    first, last = (data.known_at[np.flatnonzero(split.train.any(axis=1))[i]] for i in (0, -1))
    assert data.known_at[-1] - first < np.timedelta64(31, "D")
    assert last < data.known_at[np.flatnonzero(split.validation.any(axis=1))[0]] - np.timedelta64(1, "D")
