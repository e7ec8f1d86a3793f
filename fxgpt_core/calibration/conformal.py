"""`ConformalCalibrator`: conformal correction of all central intervals of a forecast (SPEC 10).

Each interval is moved out (or in) by a high quantile of the scores of past out-of-sample forecasts (see `intervals`):
the ⌈(n+1)·coverage⌉-th smallest for all rows (split conformal) or for each group of rows (see `groups`), or one that
follows the outcomes as they become known (see `tracker`). On exchangeable rows the coverage of the first lies between
nominal and nominal + 1/(n+1). Market rows are not exchangeable: what holds there is measured by `evaluation`, and the
effective number of rows says how far to trust it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.calibration.config import CalibrationConfig, Method, Score
from fxgpt_core.calibration.groups import Groups, Labels, label_rows
from fxgpt_core.calibration.intervals import corrected, scores, width_ratio
from fxgpt_core.calibration.learned import Start, rows_from_dict, rows_to_dict
from fxgpt_core.calibration.tracker import Tracker
from fxgpt_core.common.errors import DataError, ModelError
from fxgpt_core.common.forecast import Forecast
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.features.outcomes import Outcomes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ConformalCalibrator:
    """Corrections learnt from out-of-sample forecasts of one family.

    `offsets`: (horizons, pairs), how far the bounds of each central interval reach, in the unit of `score`, outermost
    pair of levels first. `rows`, `effective_rows`: per horizon, what they rest on. `known_until`: end of the last
    outcome used, datetime64[ns] UTC; no forecast decided earlier may be calibrated with it. `groups` and `tracker`,
    where there are any, take the place of `offsets`. `start` says where a tracker's learning began, None before it;
    `pending`: raw forecasts of the past, made by earlier models, whose outcomes a tracker has still to learn.
    """

    symbol: str
    family: str
    horizons: tuple[int, ...]
    levels: tuple[float, ...]
    offsets: Floats
    rows: tuple[int, ...]
    effective_rows: tuple[float, ...]
    known_until: np.datetime64
    method: Method = "split"
    score: Score = "quantile"
    groups: Groups | None = None
    tracker: Tracker | None = None
    start: Start | None = None
    pending: Forecast | None = None

    @property
    def version(self) -> str:
        """Stamped into calibrated forecasts: method, hash of what was fitted, and number of outcomes learnt since."""
        if self.start is not None:
            return self.start.after(self._outcomes())
        kind = {"quantile": "cqr", "spread": "spread", "return": "return"}[self.score]
        name = kind if self.method == "split" else self.method if self.method == "none" else f"{self.method}-{kind}"
        corrections = {key: value for key, value in self.to_dict().items() if key != "pending"}
        return f"{name}-{stable_hash(corrections, 12)}"

    @property
    def grouping(self) -> str | None:
        """What its groups go by, None without groups."""
        return None if self.groups is None else self.groups.grouping

    def apply(self, forecast: Forecast, labels: Labels | None = None) -> Forecast:
        """Return the calibrated forecast: quantiles corrected, `std` scaled with its 90 % interval, mean unchanged.

        `labels`: (rows,) groups, only where the calibrator was fitted with labels that the caller named. Joint samples
        are dropped: they would contradict the corrected quantiles. Raises ModelError for another family, horizons or
        an already calibrated forecast, DataError for look-ahead.
        """
        self._check(forecast)
        if self.tracker is not None:
            offsets = self.tracker.offsets()[None]
        elif self.groups is not None:
            found = label_rows(forecast, self.groups.grouping, self.groups.edges, labels)
            offsets = self.groups.offsets_of(found, self.offsets)
        else:
            offsets = self.offsets[None]
        return self._stamped(forecast, offsets, np.full(len(forecast), self.version, dtype=object))

    def follow(
        self, forecast: Forecast, outcomes: Outcomes, first: int = 0, labels: Labels | None = None
    ) -> tuple[Forecast, ConformalCalibrator]:
        """Calibrate the rows from `first` on, each with the outcomes known when it was decided.

        `forecast`: raw, with the earlier rows before `first`, whose outcomes may become known on the way; `labels`:
        (rows,) as in `apply`. Returns the calibrated rows and the calibrator after all outcomes known by the last one.
        Without a tracker nothing is learnt on the way.
        """
        later = forecast.take(slice(first, None))
        if self.tracker is None:
            return self.apply(later, None if labels is None else labels[first:]), self
        self._check(later)
        if not len(later):
            return later, self
        known = outcomes.known_at(later.decided_at[-1])
        values, ends = self._news(forecast, known)
        tracker, path = self.tracker.learn(values)
        learnt = np.stack([np.searchsorted(end, later.decided_at, side="right") for end in ends], axis=1)
        rates = np.stack([path[learnt[:, column], column] for column in range(len(ends))], axis=1)
        start, before = self._start(), self._outcomes()
        versions = np.array([start.after(before + int(count)) for count in learnt.sum(axis=1)], dtype=object)
        made = self._stamped(later, self.tracker.offsets_at(rates), versions)
        return made, replace(self, tracker=tracker, known_until=_last(ends, self.known_until), start=start)

    def learn(self, forecast: Forecast, outcomes: Outcomes) -> ConformalCalibrator:
        """Return the calibrator after the outcomes, of raw forecasts, that became known since `known_until`.

        `outcomes` as they are known at the moment of the update (`Outcomes.known_at`); one that ends at or before
        `known_until` counts as learnt. Without a tracker the calibrator itself is returned.
        """
        if self.tracker is None:
            return self
        self._check_kind(forecast)
        values, ends = self._news(forecast, outcomes)
        tracker, _ = self.tracker.learn(values)
        return replace(self, tracker=tracker, known_until=_last(ends, self.known_until), start=self._start())

    def state(self) -> dict[str, Any]:
        """Return what learning has changed since the fit, JSON-able; empty without a tracker."""
        if self.tracker is None:
            return {}
        return {"known_until": str(self.known_until), **self.tracker.moving()}

    def with_state(self, values: Mapping[str, Any]) -> ConformalCalibrator:
        """Return the calibrator as it was when `state` gave `values`; raises ModelError for that of another one."""
        if self.tracker is None or not values:
            return self
        known_until = np.datetime64(values["known_until"], "ns")
        return replace(self, tracker=self.tracker.moved(values), known_until=known_until, start=self._start())

    def warnings(self, config: CalibrationConfig) -> tuple[str, ...]:
        """Return a sentence for every horizon that rests on too little (SPEC 10)."""
        found = []
        for horizon, rows, effective in zip(self.horizons, self.rows, self.effective_rows, strict=True):
            if rows < config.warn_rows or effective < config.warn_effective:
                found.append(
                    f"Calibration of {self.family} for {self.symbol} at {horizon_name(horizon)} rests on {rows} rows "
                    f"worth {effective:.0f} independent ones (wanted {config.warn_rows} and "
                    f"{config.warn_effective:g}): its coverage is uncertain."
                )
        if self.groups is not None:
            few = (self.groups.effective_rows < config.group_effective).sum(axis=0)
            found += [
                f"Calibration of {self.family} for {self.symbol} at {horizon_name(horizon)}: {count} of "
                f"{len(self.groups.names)} groups have fewer than {config.group_effective:g} effective rows and take "
                "the correction of all rows."
                for horizon, count in zip(self.horizons, few, strict=True)
                if count
            ]
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values; those of plain split conformal calibration are what they have always been."""
        values: dict[str, Any] = {
            "symbol": self.symbol,
            "family": self.family,
            "horizons": list(self.horizons),
            "levels": list(self.levels),
            "offsets": self.offsets.tolist(),
            "rows": list(self.rows),
            "effective_rows": list(self.effective_rows),
            "known_until": str(self.known_until),
        }
        if (self.method, self.score) != ("split", "quantile"):
            values |= {"method": self.method, "score": self.score}
        if self.groups is not None:
            values["groups"] = self.groups.to_dict()
        if self.tracker is not None:
            values["tracker"] = self.tracker.to_dict()
        if self.start is not None:
            values["start"] = {"version": self.start.version, "outcomes": self.start.outcomes}
        if self.pending is not None:
            values["pending"] = rows_to_dict(self.pending)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ConformalCalibrator:
        """Rebuild from `to_dict`."""
        groups, tracker, start, pending = (values.get(name) for name in ("groups", "tracker", "start", "pending"))
        return cls(
            symbol=values["symbol"],
            family=values["family"],
            horizons=tuple(values["horizons"]),
            levels=tuple(values["levels"]),
            offsets=np.asarray(values["offsets"], dtype=np.float64),
            rows=tuple(values["rows"]),
            effective_rows=tuple(values["effective_rows"]),
            known_until=np.datetime64(values["known_until"], "ns"),
            method=values.get("method", "split"),
            score=values.get("score", "quantile"),
            groups=None if groups is None else Groups.from_dict(groups),
            tracker=None if tracker is None else Tracker.from_dict(tracker),
            start=None if start is None else Start(**start),
            pending=None if pending is None else rows_from_dict(pending),
        )

    def _outcomes(self) -> int:
        return 0 if self.tracker is None else sum(self.tracker.outcomes)

    def _start(self) -> Start:
        return self.start or Start(self.version, self._outcomes())

    def _stamped(self, forecast: Forecast, offsets: Floats, versions: NDArray[Any]) -> Forecast:
        quantiles = corrected(forecast, offsets, self.score)
        return replace(
            forecast,
            quantiles=quantiles,
            std=forecast.std * width_ratio(quantiles, forecast),
            samples=None,
            calibration_version=versions,
        )

    def _news(
        self, forecast: Forecast, outcomes: Outcomes
    ) -> tuple[tuple[Floats, ...], tuple[NDArray[np.datetime64], ...]]:
        """Return per horizon the scores of outcomes not learnt yet, as they became known, and when they did."""
        truth = outcomes.aligned(forecast.decided_at, forecast.horizons)
        return scores_in_order(truth, scores(forecast, truth.returns, self.score), self.known_until)

    def _check(self, forecast: Forecast) -> None:
        self._check_kind(forecast)
        if len(forecast) and forecast.decided_at[0] < self.known_until:
            raise DataError(
                f"The calibrator of {self.family} for {self.symbol} knows outcomes until {self.known_until}, the "
                f"forecast was decided at {forecast.decided_at[0]}: that would be looking ahead."
            )

    def _check_kind(self, forecast: Forecast) -> None:
        mine = (self.symbol, self.family, self.horizons, self.levels)
        if mine != (forecast.symbol, forecast.family, forecast.horizons, forecast.levels):
            raise ModelError(
                f"The calibrator of {self.family} for {self.symbol} {self.horizons} does not fit the forecast of "
                f"{forecast.family} for {forecast.symbol} {forecast.horizons}: fit one on that family's forecasts."
            )
        if (forecast.calibration_version != "").any():
            raise ModelError(
                f"The forecast of {self.family} for {self.symbol} is calibrated already; pass the raw one."
            )


def scores_in_order(
    truth: Outcomes, values: Floats, after: np.datetime64 | None = None
) -> tuple[tuple[Floats, ...], tuple[NDArray[np.datetime64], ...]]:
    """Return per horizon the known scores (outcomes, pairs) by the time at which they became known, and these times.

    `truth` and `values` (rows, horizons, pairs) share their rows; outcomes known at or before `after` are left out.
    """
    found, ends = [], []
    for column in range(len(truth.horizons)):
        known = np.isfinite(truth.returns[:, column])
        if after is not None:
            known &= truth.label_end[:, column] > after
        rows = np.flatnonzero(known)
        rows = rows[np.argsort(truth.label_end[rows, column], kind="stable")]
        found.append(values[rows, column])
        ends.append(truth.label_end[rows, column])
    return tuple(found), tuple(ends)


def _last(ends: tuple[NDArray[np.datetime64], ...], otherwise: np.datetime64) -> np.datetime64:
    latest: np.datetime64 = np.concatenate([[otherwise], *ends]).max()
    return latest
