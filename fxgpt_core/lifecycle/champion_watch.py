"""`ChampionWatch`: the online drift watch of whoever is champion, fed by the live loop after each of its answers.

It is a guest there: what goes wrong with it is a problem told once, and no forecast waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from fxgpt_core.common.errors import FxgptError
from fxgpt_core.features.dataset import Dataset
from fxgpt_core.lifecycle.drift.watch import OnlineVerdict, StreamDrift
from fxgpt_core.lifecycle.registry import ModelVersion
from fxgpt_core.store.alerts import Alert, record_alert
from fxgpt_core.store.clock import Clock
from fxgpt_core.store.database import Database

ALERT = "drift"
CAUSE = "bar by bar: "
"""How the causes of these alerts begin; those of daily verdicts are the ends of their windows."""
_REPEATS = timedelta(hours=6)
_RESTS = 50
"""Bars that a watch is left alone after it failed: what fails at each bar must not cost its time at each bar."""


class BarWatch(Protocol):
    """What watches one model's bars: `drift.watch.OnlineWatch`.

    `observe` takes the bars that are new and says how things stand, without saving where `keep` is False; `save` keeps
    what was seen so far.
    """

    def observe(self, bars: Dataset, keep: bool = True) -> OnlineVerdict: ...

    def save(self) -> None: ...


WatchOf = Callable[[ModelVersion], BarWatch]
"""Returns the watch of a version; may raise whatever building one raises."""


class ChampionWatch:
    """Watches one symbol's champion; `supply` None: nothing is watched. No call of it raises."""

    def __init__(self, symbol: str, supply: WatchOf | None, database: Database, clock: Clock) -> None:
        self._symbol, self._supply, self._database, self._clock = symbol, supply, database, clock
        self._version = ""
        self._watch: BarWatch | None = None
        self._told: set[str] = set()
        self._alerted: set[str] = set()
        self._rests = 0

    def observe(self, version: ModelVersion, bars: Dataset, complain: Callable[[str], object]) -> None:
        """Take the bars that are new; an alarm that began goes to the outbox, a failure to `complain`, once."""
        if self._supply is None:
            return
        if self._version != version.version:
            self.forget()
            self._version = version.version
        if self._rests:
            self._rests -= 1
            return
        try:
            if self._watch is None:
                self._watch = self._supply(version)
            self._tell(self._watch.observe(bars, keep=False))
        except Exception as error:  # a guest of the loop: whatever it throws stops no forecast
            self._failed(f"{version.label} is not watched for drift", error, complain)

    def save(self) -> None:
        """Keep what was seen; a failure costs a restart the bars since the last time, which it reads again."""
        if self._watch is None:
            return
        try:
            self._watch.save()
        except Exception as error:
            self._failed("What was seen of drift could not be saved", error, None)

    def forget(self) -> None:
        """Drop the watch without saving: the next one begins at what is stored."""
        self._watch, self._version, self._rests = None, "", 0

    def _failed(self, what: str, error: Exception, complain: Callable[[str], object] | None) -> None:
        known = isinstance(error, FxgptError)
        said = f"{what}: {error if known else f'Unexpected {type(error).__name__}: {error}'}"
        self._watch, self._rests = None, _RESTS
        if said in self._told:
            return
        self._told.add(said)
        logging.getLogger("fxgpt.live").warning("%s: %s", self._symbol, said, exc_info=None if known else error)
        if complain is not None:
            complain(said)

    def _tell(self, found: OnlineVerdict) -> None:
        """Put what is in alarm into the outbox, once, whichever process saw its first bar; what began with the same bar
        is one piece of news."""
        for since in sorted({stream.since for stream in found.streams if stream.since is not None}):
            cause = f"{CAUSE}{found.model} since {since}"
            if cause in self._alerted:
                continue
            title, now = f"{self._symbol}: drift begins, seen bar by bar", self._clock.now()
            body = "\n".join(_sentence(found, stream) for stream in found.streams if stream.since == since)
            record_alert(self._database, Alert(ALERT, self._symbol, cause, "warning", title, body, now), _REPEATS)
            self._alerted.add(cause)


def _sentence(found: OnlineVerdict, stream: StreamDrift) -> str:
    return (
        f"{found.symbol}: {stream.name} is in alarm since {stream.since}: at most {stream.peak or 0:.3g} in the last "
        f"days against a threshold of {stream.threshold:.3g} from {stream.weeks} training weeks of {found.model}."
    )
