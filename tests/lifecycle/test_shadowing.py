"""Evidence about a shadow: blocks without common outcomes, e-values, and how often luck promotes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fxgpt_core.evaluation.sequential import e_process
from fxgpt_core.lifecycle.shadowing import Pairs, blocks, shadow_evidence
from fxgpt_core.market import calendar
from fxgpt_core.policy.shadow import ShadowConfig, decide_shadow

Floats = NDArray[np.float64]
ENTERED = np.datetime64("2024-03-03T22:00", "ns")  # a Sunday's open
HORIZONS = (60, 240)
LABELS = ("EURUSD/1", "EURUSD/2")


def decisions(days: int) -> NDArray[np.datetime64]:
    """Every hour of open market since `ENTERED`."""
    count = int(calendar.trading_minutes_between(ENTERED, ENTERED + np.timedelta64(days, "D")) // 60)
    return calendar.add_trading_time(np.full(count, ENTERED), 60.0 * np.arange(1, count + 1)).astype("datetime64[ns]")


def pairs_of(gain: Floats, moments: NDArray[np.datetime64], champion: float = 0.55) -> Pairs:
    """Scores with a given gain of the shadow: (rows, horizons)."""
    ends = np.stack([calendar.add_trading_time(moments, h) for h in HORIZONS], axis=1).astype("datetime64[ns]")
    one = np.full(gain.shape, champion)
    inside = np.repeat(np.where(np.arange(len(gain)) % 10 == 0, 0.0, 1.0)[:, None], len(HORIZONS), axis=1)
    return Pairs(moments, ends, HORIZONS, one, one - gain, inside, np.zeros(gain.shape), (1, 4))


def persistent_gain(rng: np.random.Generator, rows: int, phi: float, mean: float = 0.0) -> Floats:
    """Differences as they are between two models: overlapping, clustered, heavy-tailed, with a slow common part."""
    steps = rows + 4
    size = np.exp(np.convolve(rng.standard_normal(steps + 99), np.exp(-np.arange(100) / 30), "valid") * 0.12)
    shocks = rng.standard_t(4, steps) / np.sqrt(2) * size[:steps]
    slow = np.zeros(rows)
    noise = rng.standard_normal(rows) * np.sqrt(1 - phi**2) * 0.3
    for row in range(1, rows):
        slow[row] = phi * slow[row - 1] + noise[row]
    sums = [np.convolve(shocks, np.ones(h), "valid")[:rows] / np.sqrt(h) for h in (1, 4)]
    return 0.05 * (np.stack(sums, axis=1) + slow[:, None] + mean)


def test_no_outcome_counts_in_two_blocks_and_open_blocks_wait() -> None:
    moments = decisions(14)
    gain = np.zeros((len(moments), 2))
    day = calendar.trading_minutes_between(ENTERED, moments) / 1440
    gain[:, 0] = np.floor((day * 1440 - 1e-6) / 2880)  # each block its number
    one, other = blocks(pairs_of(gain, moments), ENTERED, moments[-1])
    assert len(one) == int(calendar.trading_minutes_between(ENTERED, moments[-1]) // 2880) == 5
    found = 2 * (one - other)
    np.testing.assert_allclose(found, np.arange(5), atol=0.03)  # a decision at the very edge has its life ahead
    early, _ = blocks(pairs_of(gain, moments), ENTERED, ENTERED + np.timedelta64(47, "h"))
    assert len(early) == 0


def test_an_outcome_that_reaches_into_the_next_block_is_left_out() -> None:
    moments = decisions(14)
    gain = np.zeros((len(moments), 2))
    begun = calendar.trading_minutes_between(ENTERED, moments)
    gain[(begun % 2880) + 240 > 2880] = 100.0  # of four hours, they end in the next block; of one hour partly
    gain[(begun % 2880) + 60 <= 2880, 0] = 0.0
    gain[(begun % 2880) + 60 > 2880, 0] = 100.0
    one, other = blocks(pairs_of(gain, moments), ENTERED, moments[-1])
    np.testing.assert_allclose(one - other, 0.0, atol=1e-12)


def test_the_e_value_grows_with_evidence_and_ignores_its_scale() -> None:
    rng = np.random.default_rng(1)
    better = 1.0 + rng.standard_normal(14)
    found = e_process(better)
    np.testing.assert_allclose(found, e_process(better * 1e-3), rtol=1e-9)
    assert found[0] == 1
    assert found[-1] > 20
    assert e_process(-better)[-1] < 1
    assert e_process(np.zeros(10)).tolist() == [1.0] * 10  # nothing varies: nothing can be said


def promoted(rng: np.random.Generator, phi: float, mean: float, days: int = 29) -> bool:
    """Look at the end of every block, as often as anything can change, until something is decided."""
    moments, config = decisions(days), ShadowConfig(max_days=365.0)
    pairs = pairs_of(persistent_gain(rng, len(moments), phi, mean), moments)
    ends = calendar.add_trading_time(np.full(10, ENTERED), 2880.0 * np.arange(1, 11))
    for end in ends.astype("datetime64[ns]"):
        known = pairs.label_end <= end
        seen = Pairs(
            pairs.decided_at, pairs.label_end, HORIZONS, np.where(known, pairs.champion, np.nan),
            np.where(known, pairs.shadow, np.nan), pairs.covered, pairs.earned, pairs.overlaps,
        )  # fmt: skip
        verdict = decide_shadow("EURUSD", shadow_evidence(seen, LABELS, ENTERED, end, config), config)
        if verdict.what != "wait":
            return verdict.what == "promote"
    return False


def test_luck_promotes_seldom_and_a_better_shadow_often() -> None:
    rng = np.random.default_rng(7)
    assert np.mean([promoted(rng, 0.0, 0.0) for _ in range(25)]) <= 0.1
    assert np.mean([promoted(rng, 0.0, 0.5) for _ in range(15)]) >= 0.7


@pytest.mark.deep
@pytest.mark.parametrize("phi", [0.0, 0.9, 0.97])
def test_luck_promotes_in_at_most_one_case_of_twenty(phi: float) -> None:
    rng = np.random.default_rng(11)
    runs = 600
    share = np.mean([promoted(rng, phi, 0.0) for _ in range(runs)])
    assert share <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)
