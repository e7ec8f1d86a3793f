"""Spans that follow each other differ as chance has it; shuffled and copied rows are found out."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from fxgpt_core.features.likeness import Likeness, LikenessConfig, likeness


def market(rows: int, columns: int, seed: int) -> np.ndarray:
    """Return columns of memories from none to hundreds of rows, all of variance 1."""
    rng = np.random.default_rng(seed)
    out = rng.normal(size=(rows, columns))
    memory = 1 - np.geomspace(1.0, 0.004, columns)
    for i in range(1, rows):
        out[i] = memory * out[i - 1] + np.sqrt(1 - memory**2) * out[i]
    return out


def judged(train: np.ndarray, validation: np.ndarray) -> Likeness:
    found = likeness(train, validation)
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(8))
def test_spans_that_follow_each_other_raise_no_alarm(seed: int) -> None:
    x = market(3000, 40, seed)
    found = judged(x[:2400], x[2450:])
    assert not found.alarm
    assert found.share < 0.5
    assert found.sentence(["x"] * 40) == ""


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_rows_raise_an_alarm_that_names_columns(seed: int) -> None:
    x = market(3000, 40, seed)
    train = np.random.default_rng(seed).random(3000) < 0.8
    found = judged(x[train], x[~train])
    assert found.alarm
    said = found.sentence([f"c{i}" for i in range(40)])
    assert "too alike, a sign of leakage" in said
    assert "(p = 0.98)" in said


def test_copied_rows_raise_an_alarm() -> None:
    x = market(2000, 40, 1)
    assert judged(x, x[::4]).alarm


def test_p_values_are_roughly_uniform_where_rows_depend_on_each_other() -> None:
    """The textbook's p-values of such columns are nearly all 0."""
    ours, textbook = [], []
    for seed in range(60):
        x = market(2000, 12, 100 + seed)[:, 6]  # a memory of about 20 rows
        found, plain = judged(x[:1600, None], x[1650:, None]), ks_2samp(x[:1600], x[1650:])
        assert found.distance[0] == pytest.approx(plain.statistic, abs=1e-12)
        ours.append(found.p_values[0])
        textbook.append(plain.pvalue)
    assert np.mean(np.array(textbook) < 0.05) > 0.5
    assert np.mean(np.array(ours) < 0.05) < 0.2
    assert 0.05 < np.mean(np.array(ours) > 0.8) < 0.4


def test_the_p_value_is_the_rank_among_the_training_spans_own_stretches() -> None:
    x = np.round(market(500, 1, 5), 1)  # with equal values
    train, validation = x[:400, 0], x[420:, 0]
    found = judged(train[:, None], validation[:, None])
    own = []
    for start in np.linspace(0, 320, 24).round().astype(int):
        inside = (np.arange(400) >= start) & (np.arange(400) < start + 80)
        own.append(ks_2samp(train[inside], train[~inside]).statistic)
    above, equal = ((np.array(own) - found.distance[0]) > 1e-9).sum(), np.isclose(own, found.distance[0]).sum()
    assert found.p_values[0] == pytest.approx((above + (equal + 1) / 2) / 25)


def test_the_effective_number_of_columns_counts_copies_once() -> None:
    rng = np.random.default_rng(0)
    five = rng.normal(size=(20_000, 5))
    assert judged(five[:15_000], five[15_000:]).columns == pytest.approx(5, rel=0.02)
    copied = np.repeat(five, 8, axis=1)
    assert judged(copied[:15_000], copied[15_000:]).columns == pytest.approx(5, rel=0.02)


def test_constant_and_silent_columns_are_neither_alike_nor_different() -> None:
    x = market(1000, 6, 3)
    x[:, 4] = 0.0
    assert judged(x[:800], x[800:]).p_values[4] == 0.5


def test_too_little_says_nothing() -> None:
    x = market(300, 3, 0)
    assert likeness(x[:40], x[40:]) is None
    assert likeness(x[:260], x[260:]) is None
    assert likeness(x[:200, :0], x[200:, :0]) is None


def test_limits_are_configurable() -> None:
    x = market(3000, 40, 0)
    strict = likeness(x[:2400], x[2450:], LikenessConfig(p_value=0.01, chance=0.99))
    assert strict is not None
    assert strict.share > 0.5 > judged(x[:2400], x[2450:]).share
