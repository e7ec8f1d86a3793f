"""`Tracker`: the miss rate at which intervals are drawn, moved with the outcomes as they become known.

Adaptive conformal inference (ACI; Gibbs & Candès 2021, eq. 2) draws the interval at a working miss rate a in place of
the nominal α and moves it by γ (α − miss) after each outcome. DtACI (Gibbs & Candès 2024, JMLR 25, algorithm 1) runs
one such rate for each step size γ and mixes them by exponential weights of their pinball losses, so that it need not
know how fast the market changes: its regret is small over every stretch of `memory` outcomes (strongly adaptive).

What differs from the papers, and why:

- Outcomes come late, and labels overlap: an outcome known now was forecast `overlap` rows ago, and shares nearly all of
  its life with the one before it. It is judged against rates that its forecast could have used, at least overlap − 1
  outcomes old, or quick rates would be praised for repeating what they have just seen. Two snapshots of the rates,
  taken every overlap − 1 outcomes, suffice; the older one is used.
- `overlap` consecutive labels are about one observation: each moves rates and weights by 1 / overlap of the step.
- Intervals must be finite. Where the papers give the whole line (a < 0), the correction goes on growing in a straight
  line with falling a, and shrinks likewise at the other end.
- Rates are stopped where the interval would be more than `stretch` times as wide, or as narrow, as that of split
  conformal. The loss that weights rates counts misses, not width: a quick rate that runs into the far tail of the past
  pays hardly more than one that is just enough, though its intervals are ten times as wide. A step is one of online
  gradient descent on the pinball loss, so stopping it is projection, which keeps its regret against all rates within
  (Zinkevich 2003); the price is that nothing is promised where only a still wider interval would cover.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.calibration.config import CalibrationConfig
from fxgpt_core.calibration.ranks import conformal_ranks
from fxgpt_core.common.errors import ModelError

Floats = NDArray[np.float64]

RATES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
"""Steps of the rates that DtACI mixes: those of the paper's experiments."""

_FINE = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.03, 0.07, 0.15, 0.95, 0.98, 0.99, 0.995)
"""Miss rates at which scores are kept besides the nominal ones."""

_STEEPNESS = 10.0
"""Beyond the kept scores, a miss rate of 0.1 is worth the distance from the median score to the outermost one."""


@dataclass(frozen=True)
class Tracker:
    """State of the online correction; a small value that is stored with the calibrator.

    `targets`: (pairs,) nominal miss rates; `grid`: (knots,) rising miss rates; `knots`: (horizons, pairs, knots) past
    scores exceeded at those rates, falling. `rates`: (horizons, pairs, experts) working miss rates; `weights`: the
    same shape, summing to one over experts; `snapshots`: (2, horizons, pairs, experts) earlier rates, oldest first.
    `steps`: (experts,); `overlaps`, `outcomes`: per horizon, rows that a label spans and outcomes learnt from;
    `memory` as in the configuration; `bounds`: (2, horizons, pairs), lowest and highest rate, None without.
    """

    targets: tuple[float, ...]
    grid: tuple[float, ...]
    knots: Floats
    rates: Floats
    weights: Floats
    snapshots: Floats
    steps: tuple[float, ...]
    overlaps: tuple[int, ...]
    outcomes: tuple[int, ...]
    memory: int
    bounds: Floats | None = None

    def offsets(self) -> Floats:
        """Return the correction as the state is now: (horizons, pairs)."""
        # Added up one after the other, as `learn` does: a state that was stored gives the same bits.
        mixed = (self.rates * self.weights).cumsum(axis=-1)[..., -1]
        return np.asarray(self.offsets_at(mixed[None])[0])

    def offsets_at(self, rates: Floats) -> Floats:
        """Return the corrections at working miss rates (rows, horizons, pairs), same shape; falling with the rate."""
        grid, out = np.asarray(self.grid), np.empty(rates.shape)
        up, down = self._slopes()
        for index in np.ndindex(*rates.shape[1:]):
            rate, knots = rates[:, index[0], index[1]], self.knots[index]
            inside = np.interp(rate, grid, knots)
            beyond = np.maximum(grid[0] - rate, 0) * up[index] - np.maximum(rate - grid[-1], 0) * down[index]
            out[:, index[0], index[1]] = inside + beyond
        return out

    def learn(self, scores: tuple[Floats, ...]) -> tuple[Tracker, Floats]:
        """Return the state after further outcomes and the mixed rates on the way.

        `scores`: per horizon (outcomes, pairs), in the order in which they became known. The rates are
        (most outcomes + 1, horizons, pairs): row k holds after k outcomes of that horizon, row 0 as the state is now.
        """
        from fxgpt_core.calibration.mixing import follow_rates

        counts = np.array([len(values) for values in scores])
        rates, weights, snapshots = self.rates.copy(), self.weights.copy(), self.snapshots.copy()
        eagerness = self._eagerness()
        lowest, highest = self._limits()
        path = np.empty((int(counts.max(initial=0)) + 1, *rates.shape[:2]))
        for column, values in enumerate(scores):
            overlap = self.overlaps[column]
            seen = self._rates_of(values, column)
            for pair, target in enumerate(self.targets):
                where, kept = (column, pair), np.ascontiguousarray(snapshots[:, column, pair])
                moved = follow_rates(
                    np.ascontiguousarray(seen[:, pair]),
                    rates[where],
                    weights[where],
                    kept,
                    self.outcomes[column],
                    overlap - 1,
                    np.asarray(self.steps) / overlap,
                    target,
                    eagerness[pair] / overlap,
                    1 / (2 * self.memory * overlap),
                    float(lowest[where]),
                    float(highest[where]),
                )
                snapshots[:, column, pair] = kept
                path[: len(moved), column, pair] = moved
                path[len(moved) :, column, pair] = moved[-1]
        outcomes = tuple(int(n) for n in np.asarray(self.outcomes) + counts)
        return replace(self, rates=rates, weights=weights, snapshots=snapshots, outcomes=outcomes), path

    def moving(self) -> dict[str, Any]:
        """Return the part that `learn` changes, JSON-able."""
        return {
            "rates": self.rates.tolist(),
            "weights": self.weights.tolist(),
            "snapshots": self.snapshots.tolist(),
            "outcomes": list(self.outcomes),
        }

    def moved(self, values: Mapping[str, Any]) -> Tracker:
        """Return the tracker with the `moving` part of a later state; raises ModelError where it is of another one."""
        rates, weights, snapshots = (np.asarray(values[name], float) for name in ("rates", "weights", "snapshots"))
        if rates.shape != self.rates.shape or weights.shape != self.rates.shape or len(snapshots) != 2:
            raise ModelError(
                f"A state with rates of shape {rates.shape} does not belong to a correction of shape "
                f"{self.rates.shape}: it was saved for another calibrator."
            )
        outcomes = tuple(values["outcomes"])
        return replace(self, rates=rates, weights=weights, snapshots=snapshots, outcomes=outcomes)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        values = {
            "targets": list(self.targets),
            "grid": list(self.grid),
            "knots": self.knots.tolist(),
            "steps": list(self.steps),
            "overlaps": list(self.overlaps),
            "memory": self.memory,
            **self.moving(),
        }
        return values if self.bounds is None else {**values, "bounds": self.bounds.tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Tracker:
        """Rebuild from `to_dict`; a tracker stored by an earlier version has no bounds."""
        bounds = values.get("bounds")
        return cls(
            targets=tuple(values["targets"]),
            grid=tuple(values["grid"]),
            knots=np.asarray(values["knots"], dtype=np.float64),
            rates=np.asarray(values["rates"], dtype=np.float64),
            weights=np.asarray(values["weights"], dtype=np.float64),
            snapshots=np.asarray(values["snapshots"], dtype=np.float64),
            steps=tuple(values["steps"]),
            overlaps=tuple(values["overlaps"]),
            outcomes=tuple(values["outcomes"]),
            memory=int(values["memory"]),
            bounds=None if bounds is None else np.asarray(bounds, dtype=np.float64),
        )

    def within(self, least: Floats, most: Floats) -> Tracker:
        """Return the tracker with rates stopped where corrections reach `least` or `most`, both (horizons, pairs)."""
        columns = range(len(self.overlaps))
        limits = [np.stack([self._rates_of(ends[c][None], c)[0] for c in columns]) for ends in (most, least)]
        return replace(self, bounds=np.stack(limits))

    def _limits(self) -> tuple[Floats, Floats]:
        if self.bounds is None:
            endless = np.full(self.rates.shape[:2], np.inf)
            return -endless, endless
        return self.bounds[0], self.bounds[1]

    def _slopes(self) -> tuple[Floats, Floats]:
        """Return how fast corrections grow below the kept miss rates and shrink above them, (horizons, pairs)."""
        middle = self.knots[..., int(np.abs(np.asarray(self.grid) - 0.5).argmin())]
        least = 1e-6  # scores that are all the same must still leave a way out
        up = _STEEPNESS * np.maximum(self.knots[..., 0] - middle, least)
        return up, _STEEPNESS * np.maximum(middle - self.knots[..., -1], least)

    def _rates_of(self, scores: Floats, column: int) -> Floats:
        """Return the miss rate whose correction is each score, the inverse of `offsets_at`: (outcomes, pairs)."""
        grid, out = np.asarray(self.grid), np.empty(scores.shape)
        up, down = self._slopes()
        for pair in range(scores.shape[1]):
            score, knots = scores[:, pair], self.knots[column, pair]
            inside = np.interp(score, knots[::-1], grid[::-1])
            above, below = np.maximum(score - knots[0], 0), np.maximum(knots[-1] - score, 0)
            out[:, pair] = inside - above / up[column, pair] + below / down[column, pair]
        return out

    def _eagerness(self) -> Floats:
        """Return η of DtACI for each target, (pairs,) (Gibbs & Candès 2024, sec. 3.1)."""
        a, interval = np.asarray(self.targets), self.memory
        scale = (1 - a) ** 2 * a**3 + a**2 * (1 - a) ** 3
        return np.asarray(np.sqrt(3 / interval * (np.log(len(self.steps) * interval) + 2) / scale))


def start_tracker(
    scores: tuple[Floats, ...], offsets: Floats, targets: Floats, overlaps: tuple[int, ...], config: CalibrationConfig
) -> Tracker:
    """Return the state before any outcome: nominal rates, equal weights, the past's scores.

    `scores`: per horizon (rows, pairs); the score kept for a miss rate is that of split conformal at that rate, moved
    so that the nominal rate gives `offsets`, (horizons, pairs).
    """
    grid = np.unique(np.round([*targets, *_FINE], 12))
    knots = np.stack(
        [np.sort(values, axis=0)[conformal_ranks(len(values), 1 - grid) - 1].T for values in scores]
    )  # (horizons, pairs, knots)
    knots += (offsets - knots[:, :, np.searchsorted(grid, targets - 1e-9)].diagonal(axis1=1, axis2=2))[..., None]
    steps = (config.rate,) if config.method == "aci" else RATES
    shape = (len(scores), len(targets), len(steps))
    return Tracker(
        targets=tuple(float(t) for t in targets),
        grid=tuple(float(g) for g in grid),
        knots=knots,
        rates=np.broadcast_to(targets[None, :, None], shape).copy(),
        weights=np.full(shape, 1 / len(steps)),
        snapshots=np.broadcast_to(targets[None, None, :, None], (2, *shape)).copy(),
        steps=steps,
        overlaps=overlaps,
        outcomes=(0,) * len(scores),
        memory=config.memory,
    )
