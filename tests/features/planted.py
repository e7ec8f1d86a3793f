"""Faults that look ahead, one for each road by which the future reaches features; the check must name each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from fxgpt_core.common.timeframes import Timeframe
from fxgpt_core.features import blocks, registry
from fxgpt_core.features.alignment import last_known
from fxgpt_core.features.bars import Bars, Floats
from fxgpt_core.features.registry import Columns, Indicator
from fxgpt_core.features.rolling import rolling_mean
from fxgpt_core.features.scaler import Standardiser
from fxgpt_core.features.standardised import Targets, make_targets
from fxgpt_core.features.steps import Steps
from fxgpt_core.features.table import FeatureTable
from fxgpt_core.features.yardstick import Yardstick
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.resampling import resample

GROUP = "ohlc"


@dataclass(frozen=True)
class Fault:
    """`plant` puts the fault in; `names` must be found leaking, `innocent` must not.

    `local`: what a month's bars change lies in that month, as canonical blocks would have it.
    """

    plant: Callable[[pytest.MonkeyPatch], Steps]
    names: frozenset[str]
    innocent: frozenset[str] = frozenset({"close_close_1h", "join_4h", "yardstick_60", "target_60"})
    local: bool = True


def planted(monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[..., Columns], **more: Any) -> Steps:
    """Register an indicator of one column for the length of a test."""
    known = {**registry.indicators(), name: Indicator(name, GROUP, "planted", function, lambda p: 0, **more)}
    monkeypatch.setattr(registry, "_INDICATORS", known)
    return Steps()


def on_its_open(base: Any, slower: Any) -> Any:
    """Join a slower bar from its open on."""
    if len(slower) < 2 or np.array_equal(base, slower):
        return last_known(base, slower)
    return last_known(base, slower - np.diff(slower).min())


def joined_on_open(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(join=on_its_open)


def read_on_open(monkeypatch: pytest.MonkeyPatch) -> Steps:
    def slower_close(bars: Bars) -> Columns:
        slower = [other for other in bars.slower if other.bars.timeframe.code == "4h"]
        values = slower[0].at(slower[0].bars.close) / bars.close if slower else bars.close * 0
        return {("slower_close",): values}

    monkeypatch.setattr(blocks, "last_known", on_its_open)
    return planted(monkeypatch, "slower_close", slower_close, reads=("slower",))


def read_a_bar_early(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Read a slower bar when its last base bar has only begun: seen nowhere but at a cut just before it closes."""

    def soon(base: Any, slower: Any) -> Any:
        return np.minimum(last_known(base + np.diff(base).min(), slower), len(slower) - 1)

    steps = read_on_open(monkeypatch)
    monkeypatch.setattr(blocks, "last_known", soon)
    return steps


def unannounced_release(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Minutes to the next release, whether or not its date was public."""

    def minutes(bars: Bars) -> Columns:
        times = bars.releases.ts_utc if bars.releases is not None else bars.ts_utc[:0]
        following = np.searchsorted(times, bars.known_at)
        ahead = np.append(times, np.datetime64("2100-01-01", "ns"))[following] - bars.known_at
        return {("to_release",): ahead / np.timedelta64(1, "m")}

    return planted(monkeypatch, "to_release", minutes, reads=("releases",))


def centred_mean(monkeypatch: pytest.MonkeyPatch) -> Steps:
    def centred(bars: Bars) -> Columns:
        return {("centred",): np.convolve(bars.close, np.ones(5) / 5, mode="same") / bars.close}

    return planted(monkeypatch, "centred", centred)


def scaler_of_everything(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(scale=lambda values, rows: Standardiser.fit(values, slice(None)))  # type: ignore[arg-type]


def smoothed_regime(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Probability of the wild one of two states of volatility, given all bars: forward, then backward."""

    def regime(bars: Bars) -> Columns:
        moves = np.nan_to_num(bars.log_return)
        scale = np.array([5e-4, 2e-3])
        likelihood = np.exp(-0.5 * (moves[:, None] / scale) ** 2) / scale  # (bars, states)
        stay = np.array([[0.95, 0.05], [0.05, 0.95]])
        forward, backward = np.empty_like(likelihood), np.ones_like(likelihood)
        state = np.array([0.5, 0.5])
        for t in range(len(moves)):
            state = (state @ stay) * likelihood[t]
            state = forward[t] = state / state.sum()
        for t in range(len(moves) - 2, -1, -1):
            message = stay @ (likelihood[t + 1] * backward[t + 1])
            backward[t] = message / message.sum()
        both = forward * backward
        return {("regime_smoothed",): both[:, 1] / both.sum(axis=1)}

    return planted(monkeypatch, "regime_smoothed", regime)


def filled_from_behind(monkeypatch: pytest.MonkeyPatch) -> Steps:
    def filled(bars: Bars) -> Columns:
        """The return of every sixth bar, missing elsewhere, carried backwards."""
        values = np.where(np.arange(len(bars)) % 6 == 0, bars.log_return, np.nan)
        for t in range(len(bars) - 2, -1, -1):
            values[t] = values[t] if np.isfinite(values[t]) else values[t + 1]
        return {("filled",): values}

    return planted(monkeypatch, "filled", filled)


def unconfirmed_swing(monkeypatch: pytest.MonkeyPatch) -> Steps:
    def swing(bars: Bars) -> Columns:
        """Bars since the last swing high, stamped at the high itself and not two bars later."""
        since = np.full(len(bars), np.nan)
        last = -1
        for t in range(len(bars)):
            around = bars.high[max(0, t - 2) : t + 3]
            last = t if len(around) == 5 and bars.high[t] == around.max() else last
            since[t] = t - last if last >= 0 else np.nan
        return {("swing",): since}

    return planted(monkeypatch, "swing", swing)


def future_state(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """The usual size of a bar by the hour, learned on the month that it serves."""

    def shaped(bars: Bars) -> Columns:
        hour = bars.known_at.astype("datetime64[h]").astype(np.int64) % 24
        size = np.array([bars.log_range[hour == h].mean() if (hour == h).any() else np.nan for h in range(24)])
        return {("shaped",): bars.log_range / size[hour]}

    return planted(monkeypatch, "shaped", shaped)


def state_learned(later: int) -> Callable[[pytest.MonkeyPatch], Steps]:
    """The usual size of a bar, learned on the month that it serves, and `later` bars more."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> Steps:
        def past(self: blocks.Blocks, rows: slice, memory: int) -> Bars:
            return self.whole.part(slice(max(0, rows.start - memory), rows.stop + later))

        def relative(bars: Bars, state: float) -> Columns:
            return {("relative",): bars.log_range / state}

        monkeypatch.setattr(blocks.Blocks, "past", past)
        return planted(
            monkeypatch, "relative", relative, fit=lambda past: float(past.log_range.mean()), memory=lambda p: 300
        )

    return plant


def running_bar(monkeypatch: pytest.MonkeyPatch) -> Steps:
    def running(base: Candles, bar: Timeframe) -> Candles:
        return resample(base, bar, base.known_at[-1] + bar.duration)

    return Steps(resample=running)


def running_bar_restamped(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Slow bars made of the base bars since the open, a base bar early: whole in the past, unfinished at the end."""

    def running(base: Candles, bar: Timeframe) -> Candles:
        made = resample(base, bar)
        late = np.minimum(np.searchsorted(base.known_at, made.known_at, side="right"), len(base) - 1)
        last = base.close[late]  # the first close of the next bar
        return replace(made, close=last, high=np.maximum(made.high, last), low=np.minimum(made.low, last))

    return Steps(resample=running)


def shape_of_the_future(monkeypatch: pytest.MonkeyPatch) -> Steps:
    learned = Yardstick._shapes
    monkeypatch.setattr(Yardstick, "_shapes", lambda self, bars: [learned(self, bars)[-1]] * len(bars.blocks))
    return Steps()


def shape_of_the_running_month(monkeypatch: pytest.MonkeyPatch) -> Steps:
    learned = Yardstick._shapes

    def shapes(self: Yardstick, bars: Any) -> list[Any]:
        found = learned(self, bars)
        return [*found[1:], found[-1]]

    monkeypatch.setattr(Yardstick, "_shapes", shapes)
    return Steps()


def target_shifted(by: int) -> Callable[[pytest.MonkeyPatch], Steps]:
    """Targets that speak of the bar `by` bars later (or earlier) than the one that they stand beside."""

    def targets(base: Candles, horizons: tuple[int, ...], config: Any) -> Targets:
        made = make_targets(base, horizons, config)
        moved = np.full_like(made.target, np.nan)
        rows = np.arange(len(base)) + by
        inside = (rows >= 0) & (rows < len(base))
        moved[inside] = made.target[rows[inside]]
        return replace(made, target=moved)

    return lambda monkeypatch: Steps(targets=targets)


def peeking_yardstick(monkeypatch: pytest.MonkeyPatch) -> Steps:
    def targets(base: Candles, horizons: tuple[int, ...], config: Any) -> Targets:
        made = make_targets(base, horizons, config)
        yardstick = np.concatenate([made.yardstick[1:], made.yardstick[-1:]])
        return replace(made, yardstick=yardstick, target=made.target * made.yardstick / yardstick)

    return Steps(targets=targets)


def block_of_all_history(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Features divided by their size over all of history, not over the past."""

    def scaled(made: FeatureTable, candles: Candles) -> FeatureTable:
        return replace(made, values=(made.values / np.float32(candles.close.std())).astype(np.float32))

    return Steps(
        table=lambda candles, *more: scaled(blocks.compute_table(candles, *more), candles),
        block=lambda candles, *more: scaled(blocks.compute_block(candles, *more), candles),
    )


def clean_mean(bars: Bars) -> Columns:
    """What is causal must not be named."""
    values: Floats = rolling_mean(bars.close, 5) / bars.close
    return {("clean",): values}


FEATURES = frozenset({"yardstick_60", "target_60", "join_4h", "close_close_1h"})
FAULTS = {
    "a slower bar joined on its open": Fault(
        joined_on_open,
        frozenset({"join_4h", "join_4h (not over yet)", "join_1d", "flat close_close_4h"}),
        frozenset({"close_close_1h", "close_close_4h", "yardstick_60"}),
    ),
    "a slower bar read on its open": Fault(read_on_open, frozenset({"slower_close_1h", "flat slower_close_1h"})),
    "a centred mean": Fault(centred_mean, frozenset({"centred_1h", "centred_4h", "flat centred_1h"}), FEATURES),
    "a scaler fitted on everything": Fault(scaler_of_everything, frozenset({"scaled close_close_1h"}), FEATURES),
    "a smoothed hidden Markov model": Fault(smoothed_regime, frozenset({"regime_smoothed_1h"}), FEATURES),
    "a fill from behind": Fault(filled_from_behind, frozenset({"filled_1h"}), FEATURES),
    "a swing before its confirmation": Fault(unconfirmed_swing, frozenset({"swing_1h"}), FEATURES),
    "a shape learned on its own month": Fault(future_state, frozenset({"shaped_1h"}), FEATURES),
    "a state learned on its own month": Fault(state_learned(0), frozenset({"relative_1h", "relative_4h"}), FEATURES),
    "a state learned on the next month": Fault(
        state_learned(200), frozenset({"relative_1h", "relative_4h"}), FEATURES, local=False
    ),
    "the running bar published": Fault(
        running_bar, frozenset({"bars_4h (not over yet)", "bars_1d (not over yet)"}), FEATURES
    ),
    "a slow bar closed by the next one": Fault(
        running_bar_restamped,
        frozenset({"bars_4h close", "bars_1d close", "close_close_4h"}),
        frozenset({"close_close_1h", "yardstick_60", "join_4h"}),
    ),
    "seasonality of the whole sample": Fault(
        shape_of_the_future,
        frozenset({"yardstick_60", "target_60"}),
        frozenset({"close_close_1h", "join_4h"}),
    ),
    "seasonality of the running month": Fault(
        shape_of_the_running_month,
        frozenset({"yardstick_60", "target_60"}),
        frozenset({"close_close_1h", "join_4h"}),
    ),
    "a target shifted into the future": Fault(
        target_shifted(1), frozenset({"target_60", "target_240"}), FEATURES - {"target_60"}
    ),
    "a target shifted into the past": Fault(
        target_shifted(-1), frozenset({"target_60", "target_240"}), FEATURES - {"target_60"}
    ),
    "a yardstick of the next bar": Fault(
        peeking_yardstick, frozenset({"yardstick_60"}), frozenset({"close_close_1h", "join_4h"})
    ),
    "features scaled by all of history": Fault(
        block_of_all_history, frozenset({"close_close_1h", "close_close_1d"}), FEATURES - {"close_close_1h"}
    ),
}
