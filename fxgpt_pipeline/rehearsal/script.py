"""What is rehearsed: simulated markets in which something happens, and the configuration of a home for them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal

import yaml

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.store.config import load_yaml, merge

What = Literal["calm", "break", "outage"]


@dataclass(frozen=True)
class Part:
    """One pair and what happens in its market: nothing, another market from a day on, or a feed that falls silent."""

    symbol: str
    what: What
    seed: int


PARTS = (Part("EURUSD", "calm", 1), Part("GBPUSD", "break", 2), Part("AUDUSD", "outage", 3))


@dataclass(frozen=True)
class Script:
    """A rehearsal: it begins at `begin` (UTC), after `history_days` of each market, and lasts `days`.

    The market of a `break` is another one from `happens_after` days on: `volatility` times as wild, its daily rhythm
    twelve hours off. The provider of an `outage` cannot be reached from then on for `outage_hours`.
    """

    days: int = 90
    history_days: int = 240
    happens_after: int = 21
    volatility: float = 2.5
    outage_hours: int = 60
    begin: datetime = datetime(2024, 9, 2, tzinfo=UTC)
    parts: tuple[Part, ...] = PARTS
    retrain_days: float = 14.0
    families: tuple[str, ...] = ("ewma", "ridge", "seasonal_ewma")

    def __post_init__(self) -> None:
        if not 0 < self.happens_after < self.days:
            raise BadInputError(
                f"What happens after {self.happens_after} days does not happen in a rehearsal of {self.days}: give "
                "more days."
            )

    @property
    def end(self) -> datetime:
        return self.begin + timedelta(days=self.days)

    @property
    def happens_at(self) -> datetime:
        """A Wednesday, or the next one: markets are open."""
        day = self.begin + timedelta(days=self.happens_after)
        return day + timedelta(days=(2 - day.weekday()) % 7)

    def asset(self, part: Part) -> dict[str, Any]:
        """Return the asset file of one pair."""
        since = (self.begin - timedelta(days=self.history_days)).date()
        market: dict[str, Any] = {
            "seed": part.seed,
            "since": since.isoformat(),
            "days": self.history_days + self.days + 7,
            "clustering": 0.2,
        }
        if part.what == "break":
            turn = {"since": self.happens_at.date().isoformat(), "volatility": self.volatility, "rhythm_hours": 12}
            market["turns"] = [turn]
        if part.what == "outage":
            silent = datetime.combine(self.happens_at.date(), time(6), UTC)
            back = silent + timedelta(hours=self.outage_hours)
            market["outages"] = [{"since": silent.isoformat(), "until": back.isoformat()}]
        return {
            "symbol": part.symbol,
            "source": "simulator",
            "since": since.isoformat(),
            "provider": market,
            "price_side": "mid",
            "timeframes": ["1h", "4h"],
            "horizons": ["1h", "4h"],
            "models": {name: {} for name in self.families},
        }

    def settings(self) -> dict[str, Any]:
        """Return what is laid over the settings of the configuration: work that is done once a day and small."""
        return {
            "walk_forward": {"folds": 2},
            "retraining": {"every_days": self.retrain_days},
            "leakage": {"cuts": 2, "stored_months": 1, "warm_up_months": 1},
            "automation": {
                "refresh_cron": "5 22 * * *",
                "performance_cron": "20 */6 * * *",
                "freshness_cron": "40 */6 * * *",
                "shadow_cron": "50 22 * * *",
            },
        }

    def write(self, configs: Path, folder: Path) -> None:
        """Write the configuration of the rehearsal, that of `configs` with these pairs, into `folder`."""
        shutil.copytree(configs, folder, dirs_exist_ok=True)
        for path in (folder / "assets").glob("*.yaml"):
            path.unlink()
        settings = merge(load_yaml(folder / "pipeline.yaml"), self.settings())
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        for part in self.parts:
            path = folder / "assets" / f"{part.symbol}.yaml"
            path.write_text(yaml.safe_dump(self.asset(part), sort_keys=False), encoding="utf-8")
