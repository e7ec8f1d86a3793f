"""`LiveSymbol`: one symbol at work: its champion and shadow, what they owe, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from fxgpt_core.common.errors import FxgptError, StoreError, UnfitBarsError
from fxgpt_core.features.outcomes import Outcomes
from fxgpt_core.lifecycle.alias_moves import SERVING_SINCE
from fxgpt_core.lifecycle.champion_watch import ChampionWatch, WatchOf
from fxgpt_core.lifecycle.following import Answer, Follower, LiveBars, Times, missed, origin_of
from fxgpt_core.lifecycle.registry import CHAMPION, SHADOW, ModelRegistry, ModelVersion
from fxgpt_core.lifecycle.served_models import ServedModels
from fxgpt_core.policy.live_config import LiveConfig
from fxgpt_core.policy.serving import expired, shadow_answers, unusual
from fxgpt_core.store.clock import Clock, to_datetime64
from fxgpt_core.store.database import Database
from fxgpt_core.store.forecast_log import LoggedForecast, save_forecasts
from fxgpt_core.store.live_log import Realised, awaited, last_logged, record_failure, record_outcomes
from fxgpt_core.store.rows import aware

_JOINED_WITHIN = timedelta(days=45)
"""How long an outcome is waited for, counted in bars; forecasts leave the database after 30 days by default."""
_SAVE_EVERY = 50
"""Bars from one snapshot of the sessions, and of what was seen of drift, to the next."""


@dataclass
class SymbolStep:
    """What one pass did for a symbol.

    `live`, `backfilled`: forecasts logged; `skipped`: bars too old to be forecast later; `failed`: forecasts owed and
    not made; `refused`: rows too far from what the model was trained on, where that is configured; `outcomes`: joined;
    `newest`: the last bar's close; `versions`: alias -> label; `problems`: sentences.
    """

    symbol: str
    live: int = 0
    backfilled: int = 0
    skipped: int = 0
    failed: int = 0
    refused: int = 0
    outcomes: int = 0
    newest: np.datetime64 | None = None
    versions: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def complain(self, problem: str) -> None:
        """Add a problem, once."""
        if problem not in self.problems:
            self.problems = (*self.problems, problem)


class LiveSymbol:
    """Champion and shadow of one symbol; each follows the bars by itself, so that one's trouble is not the other's."""

    def __init__(
        self,
        symbol: str,
        bars: LiveBars,
        registry: ModelRegistry,
        database: Database,
        config: LiveConfig,
        clock: Clock,
        seed: int,
        snapshots: Path | None,
        watch: WatchOf | None = None,
    ) -> None:
        self.symbol, self._bars, self._database = symbol, bars, database
        self._served = ServedModels(registry, database, clock)
        self._watch = ChampionWatch(symbol, watch, database, clock)
        self._config, self._clock, self._seed = config, clock, seed
        self._snapshots = None if snapshots is None else snapshots / symbol
        self._followers: dict[str, Follower] = {}
        self._reached: dict[str, np.datetime64] = {}
        self._unsaved = 0

    def step(self, stop: Callable[[], bool]) -> SymbolStep:
        """Forecast what is owed, then join what became known."""
        done, now = SymbolStep(self.symbol), self._now()
        try:
            self._bars.refresh(now)
        except UnfitBarsError as error:  # when they are mended, what was owed meanwhile is forecast late
            done.complain(str(error))
            done.outcomes = self._join()
            return done
        except FxgptError as error:  # what is stored already can be worked on
            done.complain(str(error))
        versions = self._versions(done)
        owed = {alias: self._owed(version, alias, now, done) for alias, version in versions.items()}
        moments = sorted({moment for closes in owed.values() for moment in closes.tolist()})
        for moment in np.array(moments, dtype="datetime64[ns]"):
            if stop():
                break
            due = {alias: versions[alias] for alias, closes in owed.items() if moment in closes}
            if not self._answer(moment, due, done):
                break
        done.outcomes = self._join()
        return done

    def close(self) -> None:
        """Save the sessions; the next step opens them again."""
        self._watch.save()
        self._watch.forget()
        for follower in self._followers.values():
            follower.save()
        self._followers.clear()

    def forget(self) -> None:
        """Drop the sessions without saving them: the next step begins at what is logged."""
        self._followers.clear()
        self._reached.clear()
        self._watch.forget()

    def _now(self) -> np.datetime64:
        return to_datetime64(self._clock.now())

    def _versions(self, done: SymbolStep) -> dict[str, ModelVersion]:
        """Return who holds which alias; where the registry is out of reach, who held it before."""
        try:
            held = dict(self._served.holders(self.symbol, done.complain))
        except StoreError as error:
            done.complain(str(error))
            held = {alias: follower.version for alias, follower in self._followers.items()}
        found = {alias: held[alias] for alias in (CHAMPION, SHADOW) if alias in held}
        if CHAMPION not in found:
            done.complain(f"It has no champion: run `fxgpt materialize --symbol {self.symbol}`.")
        for alias in [a for a, f in self._followers.items() if a not in found or found[a].version != f.version.version]:
            del self._followers[alias]
        done.versions = {alias: version.label for alias, version in found.items()}
        return found

    def _owed(self, version: ModelVersion, alias: str, now: np.datetime64, done: SymbolStep) -> Times:
        """Return the closes that a version owes a forecast; remembered in memory once it has been read."""
        reached = self._reached.get(version.version)
        if reached is None:
            reached = last_logged(self._database, self.symbol, version.version)
        entered = version.tags.get(SERVING_SINCE, version.tags.get(f"{alias}_at"))
        since = None if entered is None else to_datetime64(datetime.fromisoformat(entered))
        closes = self._bars.decisions(since if reached is None else reached, now)
        if reached is None and not len(closes):
            closes = self._bars.decisions(None, now)[-1:]
        done.newest = max([*([done.newest] if done.newest is not None else []), *closes[-1:]], default=None)
        owed, skipped = missed(closes, reached, since, self._config)
        done.skipped += skipped
        return owed

    def _answer(self, moment: np.datetime64, due: Mapping[str, ModelVersion], done: SymbolStep) -> bool:
        """Forecast one decision with all who owe it and log them together; False where nothing can be logged."""
        answers: dict[str, Answer] = {}
        try:
            for alias, version in due.items():
                answer = self._one(moment, alias, version, done)
                if answer is not None:
                    answers[alias] = answer
            self._log(moment, answers, done)
        except StoreError as error:
            done.complain(str(error))
            self.forget()
            return False
        for version in due.values():
            self._reached[version.version] = moment
        if CHAMPION in answers:
            self._watch.observe(due[CHAMPION], self._followers[CHAMPION].feed.dataset, done.complain)
        self._unsaved += 1
        if self._unsaved >= _SAVE_EVERY:
            self._unsaved = 0
            self._watch.save()
            for follower in self._followers.values():
                follower.save()
        return True

    def _one(self, moment: np.datetime64, alias: str, version: ModelVersion, done: SymbolStep) -> Answer | None:
        """Return one version's answer; None, counted and logged as its failure, where it has none."""
        try:
            old = expired(np.datetime64(version.tags["trained_until"]), moment, version.family, self._config)
            if old:
                done.complain(f"{version.label}: {old}")
                return None
            follower = self._follower(alias, version, moment)
            bars = self._bars.since(follower.position, moment, follower.feed.timeframes)
            made_at = self._now()
            origin = origin_of(moment, made_at, follower.feed.timeframes[0], self._config)
            answer = follower.answer(bars, moment, made_at, origin)
            strange = unusual(answer.novelty, self._config)
            if strange:
                done.complain(f"{version.label} at {moment.astype('datetime64[m]')}: {strange}.")
            if strange and self._config.novelty == "refuse":
                done.refused += 1
                return None
            return answer
        except StoreError:
            raise
        except Exception as error:  # whatever a model throws is its own failure
            said = str(error) if isinstance(error, FxgptError) else f"Unexpected {type(error).__name__}: {error}"
            record_failure(self._database, self.symbol, version.version, moment, self._clock.now(), said)
            done.failed += 1
            done.complain(f"{version.label} at {moment.astype('datetime64[m]')}: {said}")
            return None

    def _follower(self, alias: str, version: ModelVersion, moment: np.datetime64) -> Follower:
        """Return the version's session, opened with the history before `moment` where it is not open."""
        follower = self._followers.get(alias)
        if follower is None or follower.version.version != version.version:
            bundle = self._served.bundle(version)
            feed = self._bars.feed(bundle, moment - np.timedelta64(1, "ns"))
            folder = None if self._snapshots is None else self._snapshots / version.version
            follower = Follower(version, bundle, feed, self._database, folder, self._seed)
            self._followers[alias] = follower
        return follower

    def _log(self, moment: np.datetime64, answers: Mapping[str, Answer], done: SymbolStep) -> None:
        """Log the answers to one decision in one transaction, and which of them was served.

        It is that of the model whose turn it is, or the only one made in time: of a champion that has expired, failed
        or refused the row its shadow's answer is the one there is.
        """
        live = [alias for alias, answer in answers.items() if answer.forecast.origin[0] == "live"]
        serves = SHADOW if shadow_answers(self.symbol, moment, self._config.shadow_share) else CHAMPION
        if serves not in live:
            serves = next(iter(live), CHAMPION)
        entries = [
            LoggedForecast(
                answer.forecast,
                answer.latency_ms,
                served=alias in live and alias == serves,
                novelty=answer.novelty,
                timeframe=self._followers[alias].feed.timeframes[0].code,
                device=answer.device,
                context=answer.context,
            )
            for alias, answer in answers.items()
        ]
        done.live += len(live)
        done.backfilled += len(entries) - len(live)
        if entries:
            save_forecasts(self._database, entries)

    def _join(self) -> int:
        """Record the outcomes that are known by now of decisions that were logged."""
        if not self._followers:
            return 0
        newest = max(follower.position for follower in self._followers.values())
        waiting = awaited(self._database, self.symbol, aware(newest) - _JOINED_WITHIN)
        found: dict[tuple[np.datetime64, int], Realised] = {}
        for follower in self._followers.values():
            dataset = follower.feed.dataset
            wanted = [(at, h) for at, h in waiting if h in dataset.horizons and (at, h) not in found]
            outcomes = Outcomes.from_dataset(dataset)
            rows = np.searchsorted(dataset.known_at, np.array([at for at, _ in wanted], dtype="datetime64[ns]"))
            for (at, horizon), row in zip(wanted, rows, strict=True):
                column = dataset.horizons.index(horizon)
                if row == len(dataset) or dataset.known_at[row] != at or not np.isfinite(outcomes.returns[row, column]):
                    continue
                ended, size = outcomes.label_end[row, column], dataset.yardstick[row, column]
                found[at, horizon] = Realised(at, horizon, ended, float(outcomes.returns[row, column]), float(size))
        return record_outcomes(self._database, self.symbol, list(found.values()))
