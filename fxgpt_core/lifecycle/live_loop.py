"""`LiveLoop`: each closed bar of each symbol becomes forecasts of its champion and its shadow (SPEC 13).

Driven by whoever calls `step`: a process that polls, a schedule, or a replay on its own clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from fxgpt_core.common.errors import FxgptError
from fxgpt_core.lifecycle.champion_watch import WatchOf
from fxgpt_core.lifecycle.following import LiveBars
from fxgpt_core.lifecycle.live_symbol import LiveSymbol, SymbolStep
from fxgpt_core.lifecycle.registry import ModelRegistry
from fxgpt_core.policy.live_config import LiveConfig
from fxgpt_core.store.clock import Clock
from fxgpt_core.store.database import Database

Lease = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class SymbolSource:
    """What a loop needs of one symbol: its bars, its settings, the seed of its draws, and what watches for drift."""

    bars: LiveBars
    config: LiveConfig
    seed: int = 0
    watch: WatchOf | None = None


@dataclass(frozen=True)
class LiveStep:
    """What one pass over all symbols did, by symbol."""

    symbols: Mapping[str, SymbolStep] = field(default_factory=dict)

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem, with its symbol."""
        return tuple(f"{name}: {said}" for name, one in self.symbols.items() for said in one.problems)

    @property
    def forecasts(self) -> int:
        """Forecasts that were logged."""
        return sum(one.live + one.backfilled for one in self.symbols.values())


class LiveLoop:
    """One loop over all symbols; `lease` keeps two loops from one symbol, `snapshots` is where sessions are kept.

    A context manager: leaving it saves the sessions and gives the leases back. What goes wrong with one symbol is said
    in its step and stops no other.
    """

    def __init__(
        self,
        sources: Mapping[str, SymbolSource],
        registry: ModelRegistry,
        database: Database,
        clock: Clock,
        lease: Lease,
        snapshots: Path | None = None,
    ) -> None:
        self._symbols = {
            name: LiveSymbol(
                name, source.bars, registry, database, source.config, clock, source.seed, snapshots, source.watch
            )
            for name, source in sources.items()
        }
        self._clock, self._lease, self._held = clock, lease, dict[str, ExitStack]()

    def __enter__(self) -> LiveLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def step(self, stop: Callable[[], bool] = lambda: False) -> LiveStep:
        """Forecast every bar that has closed since the last step; `stop` is asked between bars."""
        done: dict[str, SymbolStep] = {}
        for name, symbol in self._symbols.items():
            if stop():
                break
            done[name] = self._guarded(name, symbol, stop)
        return LiveStep(done)

    def close(self) -> None:
        """Save every session and give every lease back."""
        for name, symbol in self._symbols.items():
            held = self._held.pop(name, None)
            if held is None:
                continue
            try:
                symbol.close()
            except Exception:  # a snapshot saves time, nothing else: history says the same
                logging.getLogger("fxgpt.live").exception("%s: its session could not be saved", name)
            finally:
                held.close()

    def _guarded(self, name: str, symbol: LiveSymbol, stop: Callable[[], bool]) -> SymbolStep:
        try:
            if name not in self._held:
                held = ExitStack()
                held.enter_context(self._lease(name))
                self._held[name] = held
            return symbol.step(stop)
        except FxgptError as error:
            return replace(SymbolStep(name), problems=(str(error),))
        except Exception as error:  # a fault of ours in one pair must not stop the others
            logging.getLogger("fxgpt.live").exception("%s", name)
            symbol.forget()
            return replace(SymbolStep(name), problems=(f"Unexpected {type(error).__name__}: {error}",))
