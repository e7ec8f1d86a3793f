"""Scores are broken down by what was known beforehand, with the uncertainty of the part."""

from __future__ import annotations

import numpy as np
import pytest

from fxgpt_core.common.errors import DataError
from fxgpt_core.evaluation import groups
from fxgpt_core.evaluation.breakdown import ScoredRows, break_down
from fxgpt_core.evaluation.groups import Labels

T0 = np.datetime64("2020-01-06T00:00", "ns")
HOUR = np.timedelta64(3600 * 10**9, "ns")
TIMES = T0 + np.arange(2400) * HOUR


def test_gain_is_found_in_the_hour_that_has_it_and_overlap_is_that_within_the_group() -> None:
    rng = np.random.default_rng(1)
    reference = rng.gamma(4.0, size=len(TIMES))
    hours = groups.hours(TIMES)
    loss = reference * np.where(hours == "13", 0.8, 1.0) + rng.normal(0, 0.2, len(TIMES))
    hit = (rng.uniform(size=len(TIMES)) < 0.9).astype(float)
    rows = {
        "m": ScoredRows(loss, reference, hit, np.full(len(TIMES), np.nan)),
        "b": ScoredRows(reference, None, hit, np.ones(len(TIMES))),
    }
    found = break_down("hour", hours, TIMES, TIMES + 4 * HOUR, 240, rows)
    assert len(found) == 48
    mine = {g.label: g for g in found if g.family == "m"}
    assert mine["13"].skill is not None
    assert mine["13"].skill.low > 0.1
    assert sum(g.skill is not None and g.skill.low > 0 for g in mine.values()) < 6
    assert mine["13"].rows == 100
    assert mine["13"].effective_rows > 25  # a day apart, labels of four hours do not overlap
    assert mine["13"].direction is None
    assert mine["13"].coverage.low < 0.9 < mine["13"].coverage.high
    other = next(g for g in found if g.family == "b")
    assert other.skill is None
    assert other.direction is not None


def test_overlap_in_a_group_of_neighbours_counts() -> None:
    noise = np.random.default_rng(2).normal(size=len(TIMES) + 23)
    loss = np.convolve(noise, np.ones(24), "valid")
    rows = {"m": ScoredRows(loss, None, np.ones(len(TIMES)), np.ones(len(TIMES)))}
    (whole,) = break_down("all", np.full(len(TIMES), "x"), TIMES, TIMES + 24 * HOUR, 1440, rows)
    assert whole.effective_rows <= 100


def test_small_groups_are_left_out() -> None:
    labels = np.where(np.arange(len(TIMES)) < 19, "few", "many")
    ones = np.ones(len(TIMES))
    found = break_down("x", labels, TIMES, TIMES + HOUR, 60, {"m": ScoredRows(ones, ones, ones, ones)})
    assert [g.label for g in found] == ["many"]


def test_hours_and_sessions_are_those_of_the_clock() -> None:
    at = np.array(["2020-01-08T13:30", "2020-01-08T03:00"], dtype="datetime64[ns]")
    assert groups.hours(at).tolist() == ["13", "03"]
    assert groups.sessions(at).tolist() == ["london+new_york", "sydney+tokyo"]


def test_volatility_buckets_are_fifths_from_calm_to_wild() -> None:
    level = np.random.default_rng(3).gamma(2.0, size=5000)
    found = groups.volatility_buckets(level)
    means = [level[found == name].mean() for name in groups.BUCKETS]
    assert means == sorted(means)
    assert all(np.mean(found == name) == pytest.approx(0.2, abs=1e-3) for name in groups.BUCKETS)


def test_windows_around_releases() -> None:
    at = T0 + np.arange(6) * HOUR
    releases = np.array([T0 + 3 * HOUR])
    found = groups.release_windows(at, at + HOUR, releases, np.timedelta64(90, "m"))
    assert found.tolist() == ["quiet", "quiet", "ahead", "after", "after", "quiet"]
    found = groups.release_windows(at, np.full(6, np.datetime64("NaT", "ns")), releases, np.timedelta64(30, "m"))
    assert found.tolist() == ["quiet", "quiet", "quiet", "after", "quiet", "quiet"]
    assert (groups.release_windows(at, at + HOUR, releases[:0], np.timedelta64(1, "h")) == "quiet").all()


def test_given_labels_are_joined_by_decision_and_unknown_elsewhere() -> None:
    regime = Labels(TIMES[10:20], np.repeat([0, 1], 5))
    assert regime.at(TIMES[8:17]).tolist() == ["unknown"] * 2 + ["0"] * 5 + ["1"] * 2
    with pytest.raises(DataError, match="5 values for 10"):
        Labels(TIMES[:10], np.arange(5))
