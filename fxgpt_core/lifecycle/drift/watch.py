"""`OnlineWatch`: drift bar by bar, between the daily verdicts, with what it has seen kept in the operational database.

A daily verdict looks at seven days; a market that changes at once, or a feed that sticks, shows within hours in the
newest day. Thresholds come from the training span's own stream, and the online statistics share the false alarms with
the parts of the daily verdict.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.features.dataset import Dataset
from fxgpt_core.lifecycle.drift.columns import DriftTable, drift_table
from fxgpt_core.lifecycle.drift.config import DriftConfig
from fxgpt_core.lifecycle.drift.online import OnlinePart
from fxgpt_core.lifecycle.drift.reference import DriftReference
from fxgpt_core.lifecycle.drift.streams import OnlineStatistic
from fxgpt_core.store.database import Database
from fxgpt_core.store.states import SavedState, StateStore

OWNER = "drift"


@dataclass(frozen=True)
class StreamDrift:
    """One online statistic as it stands: `statistic` None until its window is full; `since`: when its alarm began.

    `peak`: the largest in the last `window_days`. An alarm ends when so many days stayed below the threshold.
    """

    name: str
    statistic: float | None
    threshold: float
    peak: float | None
    drifted: bool
    since: str | None
    weeks: int


@dataclass(frozen=True)
class OnlineVerdict:
    """What the online statistics say after the bars up to `as_of` (ISO 8601, UTC).

    `rows`: bars read by this call; `onsets`: the statistics whose alarms began in them, empty when there is no news.
    """

    symbol: str
    model: str
    as_of: str
    rows: int
    streams: tuple[StreamDrift, ...]
    onsets: tuple[str, ...]

    @property
    def drifted(self) -> bool:
        """Whether any statistic is in alarm."""
        return any(stream.drifted for stream in self.streams)


@dataclass
class _Stream:
    """One statistic on its way: `above`: when it was last above its threshold; `peaks`: largest by day."""

    part: OnlinePart
    statistic: OnlineStatistic
    calm: np.timedelta64
    level: float | None = None
    since: str | None = None
    above: str | None = None
    peaks: dict[str, float] = field(default_factory=dict)

    def take(self, values: NDArray[Any], at: np.datetime64) -> bool:
        """Take a bar; returns whether an alarm begins."""
        level = self.part.level(self.statistic.update(self.part.row(values)))
        if np.isnan(level):
            return False
        self.level, day = level, str(at.astype("datetime64[D]"))
        self.peaks[day] = max(level, self.peaks.get(day, level))
        if self.above is not None and at - np.datetime64(self.above.removesuffix("Z")) >= self.calm:
            self.since = self.above = None
        if level <= self.part.threshold:
            return False
        begins, self.above = self.since is None, _iso(at)
        self.since = self.since or self.above
        return begins

    def forget(self, day: np.datetime64) -> None:
        """Drop peaks of days before `day`."""
        self.peaks = {name: peak for name, peak in self.peaks.items() if np.datetime64(name) >= day}

    def state(self) -> dict[str, Any]:
        own = {"level": self.level, "since": self.since, "above": self.above, "peaks": self.peaks}
        return {**own, "arrays": {name: _packed(array) for name, array in self.statistic.state().items()}}

    @classmethod
    def of(cls, part: OnlinePart, config: DriftConfig, state: Mapping[str, Any] | None) -> _Stream:
        statistic, calm = part.open(config.backend), np.timedelta64(config.window_days, "D")
        if state is None:
            return cls(part, statistic, calm)
        statistic.restore({name: _unpacked(values) for name, values in state["arrays"].items()})
        return cls(part, statistic, calm, state["level"], state["since"], state["above"], dict(state["peaks"]))


def drift_states(database: Database, reference: DriftReference) -> StateStore:
    """Return where the watch of a model keeps what it has seen; another reference, or model, begins anew."""
    version = f"{reference.model.rpartition('/')[2]}:{reference.fingerprint}"
    return StateStore(database, OWNER, reference.symbol, version)


class OnlineWatch:
    """Watches one symbol against the reference of one model.

    `states` None: nothing is kept. What it has seen depends on the bars alone: bar by bar, after a pause, or by two
    processes at once, it is the same.
    """

    def __init__(self, reference: DriftReference, config: DriftConfig, states: StateStore | None) -> None:
        self.reference, self._config, self._states = reference, config, states
        self._saved: SavedState | None = None
        self._known = reference.end
        self._streams = self._open(None)

    def observe(self, bars: Dataset | DriftTable, keep: bool = True) -> OnlineVerdict:
        """Take the bars that are new, up to the last one given, save what was seen, and say what there is to say.

        `keep` False: `save` is called later; a process that dies before reads those bars again.

        `bars`: the symbol's data up to the newest closed bar, such as `Feed.dataset`, or the judged columns alone.
        Bars before the newest one seen are not read again; those with a missing value are passed over. Raises
        DataError where features were redefined since the reference was built.
        """
        moment = bars.known_at[-1] if len(bars) else self._known
        self._resume(moment)
        names = tuple(dict.fromkeys(name for part in self.reference.online.values() for name in part.names))
        table = bars if isinstance(bars, DriftTable) else drift_table(bars, self._config, self._known)
        news = table.between(self._known, moment).select(names).complete()
        onsets: list[str] = []
        for at, values in zip(news.known_at, news.values, strict=True):
            for name, stream in self._streams.items():
                chosen = values[[names.index(column) for column in stream.part.names]]
                if stream.take(chosen, at):
                    onsets.append(name)
        if moment > self._known:
            self._known = moment
            first = moment.astype("datetime64[D]") - np.timedelta64(self._config.window_days, "D")
            for stream in self._streams.values():
                stream.forget(first)
            if keep:
                self.save()
        return self._verdict(len(news), tuple(onsets))

    def save(self) -> None:
        """Keep what was seen up to the last bar taken; nothing where that is kept already."""
        if self._states is None or self._known <= (self.reference.end if self._saved is None else self._saved.as_of):
            return
        value = {name: stream.state() for name, stream in self._streams.items()}
        self._states.save(value, self._known, self._saved)  # refused: another process saved the same already
        self._saved = self._states.latest(self._known)

    def _resume(self, moment: np.datetime64) -> None:
        """Go on from what is at hand, or from the newest state that knows nothing after `moment` where it knows more.

        What is at hand is left behind where it knows what came after `moment`.
        """
        latest = None if self._states is None else self._states.latest(moment)
        if moment < self._known or (latest is not None and latest.as_of > self._known):
            self._known = self.reference.end if latest is None else latest.as_of
            self._streams = self._open(None if latest is None else latest.value)
        self._saved = latest

    def _open(self, state: Mapping[str, Any] | None) -> dict[str, _Stream]:
        return {
            name: _Stream.of(part, self._config, None if state is None else state[name])
            for name, part in self.reference.online.items()
        }

    def _verdict(self, rows: int, onsets: tuple[str, ...]) -> OnlineVerdict:
        return OnlineVerdict(
            symbol=self.reference.symbol,
            model=self.reference.model,
            as_of=_iso(self._known),
            rows=rows,
            streams=tuple(
                StreamDrift(
                    name=name,
                    statistic=stream.level,
                    threshold=stream.part.threshold,
                    peak=max(stream.peaks.values(), default=None),
                    drifted=stream.since is not None,
                    since=stream.since,
                    weeks=stream.part.weeks,
                )
                for name, stream in self._streams.items()
            ),
            onsets=onsets,
        )


def _iso(moment: np.datetime64) -> str:
    return f"{moment.astype('datetime64[s]')}Z"


def _packed(array: NDArray[Any]) -> dict[str, Any]:
    """Return an array as JSON that gives back the same bits."""
    whole = np.ascontiguousarray(array, dtype=np.float64)
    return {"shape": list(whole.shape), "float64": base64.b64encode(whole.tobytes()).decode("ascii")}


def _unpacked(values: Mapping[str, Any]) -> NDArray[np.float64]:
    whole = np.frombuffer(base64.b64decode(values["float64"]), dtype=np.float64)
    return whole.reshape(values["shape"]).copy()
