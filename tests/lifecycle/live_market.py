"""Simulated symbols for the live loop: bars that close as a clock moves, models in a registry of folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np

from fxgpt_core.common.errors import BadInputError, StoreError, UnfitBarsError
from fxgpt_core.common.timeframes import Timeframe, timeframe
from fxgpt_core.evaluation.split_config import WalkForwardConfig
from fxgpt_core.evaluation.splits import final_split
from fxgpt_core.features.assemble import build_dataset
from fxgpt_core.features.feed import Feed
from fxgpt_core.features.spec import FeatureSpec
from fxgpt_core.lifecycle.bundle import Bundle, Card, save_bundle
from fxgpt_core.lifecycle.following import Times
from fxgpt_core.lifecycle.live_loop import LiveLoop, SymbolSource
from fxgpt_core.lifecycle.novelty import novelty_reference
from fxgpt_core.lifecycle.registry import ModelVersion
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.market.resampling import resample
from fxgpt_core.models.registry import family
from fxgpt_core.policy.live_config import LiveConfig
from fxgpt_core.store.clock import FixedClock, to_datetime64
from fxgpt_core.store.database import Database
from fxgpt_core.training.plan import TrainingPlan

LAYOUT, HORIZONS = (timeframe("1h"), timeframe("4h")), (60, 240)
SPEC = FeatureSpec(groups=("ohlc",))
TRAINED = 850
HOUR = np.timedelta64(1, "h")


@cache
def market(symbol: str) -> Candles:
    """A year of hourly bars."""
    seed = sum(map(ord, symbol))
    return simulate(symbol, "1h", start=np.datetime64("2024-01-01"), bars=1600, seed=seed)


@cache
def trained(symbol: str, name: str) -> Bundle:
    """A cheap family fitted on the first bars, without a calibrator."""
    data = build_dataset(market(symbol).take(slice(0, TRAINED)), LAYOUT, HORIZONS, SPEC)
    split = final_split(data, WalkForwardConfig())
    model = family(name).create(family(name).config({}))
    model.fit(data.with_split(split), TrainingPlan(seed=1))
    codes = tuple(bar.code for bar in LAYOUT)
    until = str(split.trained_until)
    features = SPEC.model_dump(mode="json")
    card = Card(symbol, name, name, until, codes, HORIZONS, "mid", {}, features, data.definition_hash)
    return Bundle(card, model, None, novelty_reference(data, np.arange(200, TRAINED)))


@dataclass
class SimulatedBars:
    """`LiveBars` of one symbol: what the simulated market has printed; `broken` bars cannot be read, those of an
    `unfit` market fail their quality limits."""

    symbol: str
    broken: tuple[np.datetime64, ...] = ()
    missing: tuple[np.datetime64, ...] = ()
    unfit: bool = False

    def refresh(self, now: np.datetime64) -> None:
        if self.unfit:
            raise UnfitBarsError(f"The bars of {self.symbol} are not good enough to forecast from.")

    def decisions(self, after: np.datetime64 | None, now: np.datetime64) -> Times:
        closes = self._base().known_at
        return closes[(closes <= now) & ((closes > after) if after is not None else True)]

    def since(
        self, after: np.datetime64, now: np.datetime64, timeframes: tuple[Timeframe, ...]
    ) -> Mapping[str, Candles]:
        if any(after < moment <= now for moment in self.broken):
            raise BadInputError(f"The bar of {self.symbol} at {now} is broken.")
        found = {}
        for bar in timeframes:
            candles = self._base() if bar == LAYOUT[0] else resample(self._base(), bar)
            found[bar.code] = candles.take((candles.known_at > after) & (candles.known_at <= now))
        return found

    def feed(self, bundle: Bundle, until: np.datetime64) -> Feed:
        base = self._base()
        known = base.take(base.known_at <= until)
        slow = resample(base, LAYOUT[1])
        return Feed({"1h": known, "4h": slow.take(slow.known_at <= until)}, LAYOUT, HORIZONS, SPEC)

    def _base(self) -> Candles:
        bars = market(self.symbol)
        return bars.take(~np.isin(bars.known_at, np.array(self.missing, dtype="datetime64[ns]")))


@dataclass
class Folders:
    """The part of `ModelRegistry` that a loop reads: versions of a symbol, and where each lies."""

    root: Path
    held: dict[str, list[ModelVersion]] = field(default_factory=dict)
    down: bool = False

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"

    def add(
        self, symbol: str, name: str, alias: str, entered: datetime | None = None, bundle: Bundle | None = None
    ) -> ModelVersion:
        bundle = bundle or trained(symbol, name)
        number = str(len(self.held.get(symbol, ())) + 1)
        tags = {"trained_until": bundle.card.trained_until}
        if entered is not None:
            tags[f"{alias}_at"] = entered.isoformat()
        version = ModelVersion(symbol, number, name, (alias,), tags, "run")
        save_bundle(bundle, self.root / symbol / number)
        others = [replace(v, aliases=tuple(a for a in v.aliases if a != alias)) for v in self.held.get(symbol, ())]
        self.held[symbol] = [version, *others]
        return version

    def versions(self, symbol: str) -> list[ModelVersion]:
        if self.down:
            raise StoreError("The registry is out of reach.")
        return list(self.held.get(symbol, ()))

    def folder(self, version: ModelVersion) -> Path:
        return self.root / version.symbol / version.version


@dataclass
class Desk:
    """One process's worth: a clock, bars, models, and the loop over them; `loop` again is a restart."""

    database: Database
    registry: Folders
    bars: dict[str, SimulatedBars]
    clock: FixedClock
    config: LiveConfig = field(default_factory=LiveConfig)
    snapshots: Path | None = None

    def loop(self, lease: Callable[[str], object] | None = None) -> LiveLoop:
        sources = {name: SymbolSource(bars, self.config) for name, bars in self.bars.items()}
        taken = lease or free
        return LiveLoop(sources, self.registry, self.database, self.clock, taken, self.snapshots)  # type: ignore[arg-type]

    def at(self, bar: int, symbol: str = "EURUSD") -> np.datetime64:
        """Set the clock to a minute after the close of a bar; return that close."""
        close = market(symbol).known_at[bar]
        moment = datetime.fromtimestamp(int(close.astype("datetime64[s]").astype(int)) + 60, UTC)
        self.clock.advance(moment - self.clock.now())
        assert to_datetime64(self.clock.now()) > close
        return np.datetime64(close)


@contextmanager
def free(_: str) -> Iterator[None]:
    """A lease that everybody gets."""
    yield
