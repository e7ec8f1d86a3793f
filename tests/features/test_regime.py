"""The hidden Markov model against plain Python and planted chains; what is told of a bar knows the past only."""

import math
from dataclasses import replace

import numpy as np

from fxgpt_core.features.bars import Bars
from fxgpt_core.features.blocks import compute_block, compute_table, months
from fxgpt_core.features.indicators.regime import RAREST, Regimes, filter_regimes, fit_regimes, observations
from fxgpt_core.features.kernels import regime as kernel
from fxgpt_core.features.registry import indicators
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate

CANDLES = simulate("EURUSD", "1h", start=np.datetime64("2024-01-03T00:00", "ns"), bars=2400, seed=9)
PAST, LATER = Bars.of(CANDLES.take(slice(0, 1400))), Bars.of(CANDLES.take(slice(1400, 2400)))


def fitted(states: int = 3, seasonal: bool = True) -> Regimes:
    model = fit_regimes(PAST, states, seasonal)
    assert model is not None
    return model


MODEL = fitted()


def columns(bars: Bars, model: Regimes | None, name: str = "regime") -> dict[str, np.ndarray]:
    found = indicators()[name]
    return found.compute(bars, found.resolved({}), model)


def plain_forward(seen: np.ndarray, model: Regimes) -> tuple[np.ndarray, np.ndarray]:
    """Rabiner's forward probabilities, normalised at each step, in plain Python."""
    states, before = range(len(model.means)), list(model.start)
    out, surprise = [], []
    for value in seen:
        joint = []
        for k in states:
            mean, variance = model.means[k, 0], model.variances[k, 0]
            density = math.exp(-((value - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
            joint.append(before[k] * density)
        total = sum(joint)
        out.append([j / total for j in joint])
        surprise.append(-math.log(total))
        before = [sum(out[-1][i] * model.transition[i, k] for i in states) for k in states]
    return np.array(out), np.array(surprise)


def test_probabilities_are_those_of_the_forward_algorithm() -> None:
    raw = fitted(2, seasonal=False)
    for model, name in ((MODEL, "regime"), (raw, "regime_raw")):
        hour = np.array([(int(h) - 5) % 24 for h in LATER.ts_utc.astype("datetime64[h]").astype(int)])
        summer = LATER.ts_utc >= np.datetime64("2024-03-10T07:00")
        hour = np.where(summer, (hour + 1) % 24, hour)
        seen = (np.log(np.log(LATER.high / LATER.low)) - model.usual[hour, 0]) / model.scale[0]
        state, surprise = plain_forward(seen, model)
        found = filter_regimes(LATER, model)
        np.testing.assert_allclose(found.state, state, atol=1e-10)
        np.testing.assert_allclose(found.surprise, surprise, atol=1e-9)
        told = columns(LATER, model, name)
        ratio = state @ (model.means[:, 0] * model.scale[0])
        entropy = -np.sum(state * np.log(np.maximum(state, 1e-300)), axis=1) / math.log(state.shape[1])
        expected = {
            "calm": state[:, 0],
            "wild": state[:, -1],
            "ratio": ratio,
            "entropy": entropy,
            "stay": state @ np.log(1 / (1 - np.diag(model.transition))),
            "change": np.r_[np.full(6, np.nan), ratio[6:] - ratio[:-6]],
            "surprise": np.clip(surprise, -5, 20),
        }
        for column, values in expected.items():
            if f"{name}_{column}_1h" in told:
                np.testing.assert_allclose(told[f"{name}_{column}_1h"], values, atol=1e-9, err_msg=column)
    assert len(columns(LATER, MODEL)) == 7


def test_a_planted_chain_is_recovered() -> None:
    rng = np.random.default_rng(2)
    transition, state, states = np.array([[0.97, 0.03], [0.08, 0.92]]), 0, []
    for _ in range(12_000):
        state = int(rng.random() < transition[state, 1])
        states.append(state)
    chosen = np.array(states)
    means, deviations = np.array([[-0.6, 0.2], [1.1, -0.5]]), np.array([[0.7, 1.0], [0.5, 0.4]])
    seen = means[chosen] + deviations[chosen] * rng.normal(size=(12_000, 2))
    seen[rng.random(12_000) < 0.1, 1] = np.nan  # not observed
    start = np.array([[-0.3, 0.0], [0.3, 0.0]]), np.ones((2, 2)), np.full((2, 2), 0.5)
    got_means, variances, moves, history = kernel.maximise(seen, *start, (200, 1e-9, RAREST, 0.02))
    np.testing.assert_allclose(got_means, means, atol=0.04)
    np.testing.assert_allclose(np.sqrt(variances), deviations, atol=0.03)
    np.testing.assert_allclose(moves, transition, atol=0.015)
    np.testing.assert_allclose(kernel.stationary(moves), [8 / 11, 3 / 11], atol=0.03)
    gains = np.diff(history[np.isfinite(history)])
    assert (gains > -1e-3).all()  # but for the floor of rare changes, every step gains
    assert gains.sum() > 1000
    density, _ = kernel.densities(seen, got_means, variances)
    filtered, _ = kernel.forward(density, moves, kernel.stationary(moves))
    assert ((filtered[:, 1] > 0.5) == (chosen == 1)).mean() > 0.94


def test_states_rise_in_volatility_and_are_the_same_every_time() -> None:
    again = fitted()
    assert (np.diff(MODEL.means[:, 0]) > 0.3).all()
    np.testing.assert_array_equal(again.transition, MODEL.transition)
    np.testing.assert_allclose(MODEL.transition.sum(axis=1), 1.0)
    assert MODEL.transition.min() >= RAREST * (1 - 1e-9)
    np.testing.assert_allclose(MODEL.start @ MODEL.transition, MODEL.start, atol=1e-9)


def test_the_filter_follows_a_planted_change_only_after_it_happened() -> None:
    count = len(LATER)
    wide = np.where(np.arange(count) < 500, 1.0, 6.0) * 1e-3
    middle = np.ones(count)
    bars = replace(LATER, high=middle * np.exp(wide / 2), low=middle * np.exp(-wide / 2), open=middle, close=middle)
    raw = fitted(2, seasonal=False)
    model = replace(raw, usual=np.full((24, 1), math.log(2e-3)), scale=np.array([1.0]))
    wild = columns(bars, model, "regime_raw")["regime_raw_wild_1h"]
    assert wild[490:500].max() < 0.2  # a smoother would have risen before the change
    assert wild[505:].min() > 0.8


def test_the_future_and_the_distant_past_do_not_matter() -> None:
    whole = columns(LATER, MODEL)
    rows = CANDLES.take(slice(1400, 2050))
    for name, values in columns(Bars.of(rows), MODEL).items():
        np.testing.assert_array_equal(values, whole[name][:650], err_msg=name)
    for name, values in columns(Bars.of(CANDLES.take(slice(1500, 2400))), MODEL).items():
        np.testing.assert_allclose(values[400:], whole[name][500:], rtol=0, atol=1e-12, err_msg=name)


def test_months_learn_from_the_months_before_alone() -> None:
    spec = FeatureSpec(groups=("regime",))
    table = compute_table(CANDLES, spec)
    (_, first), (second, rows), *_ = list(months(CANDLES))
    assert np.isnan(table.values[first]).all()
    assert np.isfinite(table.values[rows]).all()
    changed: Candles = replace(CANDLES, high=CANDLES.high.copy(), low=CANDLES.low.copy())
    changed.high[rows.start + 5 :] *= 1.004  # from the month on everything moves more
    alone = compute_block(changed, second, spec)
    np.testing.assert_array_equal(alone.values[:5], table.values[rows][:5])
    assert (alone.values[5:] != table.values[rows][5:]).any()


def test_the_price_scale_does_not_matter() -> None:
    names = ("open", "high", "low", "close")
    scaled = [replace(bars, **{name: getattr(bars, name) * 137.0 for name in names}) for bars in (PAST, LATER)]
    expected = columns(LATER, MODEL)
    for name, values in columns(scaled[1], fit_regimes(scaled[0], 3, True)).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-6, err_msg=name)


def test_nothing_is_learned_from_too_few_bars_or_from_prices_that_stand_still() -> None:
    assert fit_regimes(Bars.of(CANDLES.take(slice(0, 150))), 3, True) is None
    still = np.full(len(PAST), 1.1)
    flat = replace(PAST, open=still, high=still, low=still, close=still)
    assert fit_regimes(flat, 3, True) is None
    assert all(np.isnan(values).all() for values in columns(LATER, None).values())
    assert list(columns(LATER, None)) == list(columns(LATER, MODEL))
    for name, values in columns(flat, MODEL).items():
        assert np.isfinite(values[6:]).all(), name


def test_observations_are_floored() -> None:
    still = np.full(len(PAST), 1.1)
    seen = observations(replace(PAST, high=still, low=still))
    assert seen.shape == (len(PAST), 1)
    np.testing.assert_allclose(seen, math.log(1e-6))
