"""Strategies that were backtested, counted in the operational database: what the deflated Sharpe ratio stands on.

A strategy is what somebody chose: a symbol, a family, how its forecasts were made and how they are traded. Trying it
again counts once, also from another process and on more bars; its figures are then those of the newest run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Executable, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.clock import to_datetime64
from fxgpt_core.store.database import Database
from fxgpt_core.store.models import TrialRow
from fxgpt_core.store.rows import aware

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Trial:
    """One strategy and what its newest run gave.

    `forecasts`, `configuration`: hashes of how the forecasts were made and how they are traded; `start`, `end`: first
    and last close; `days`: (days,) datetime64[D], increasing; `daily`: (days,) simple returns; `sharpe` per day,
    `skewness`, `kurtosis`: of them, None where they do not vary.
    """

    symbol: str
    family: str
    forecasts: str
    configuration: str
    start: np.datetime64
    end: np.datetime64
    bars: int
    trades: int
    days: Times
    daily: Floats
    sharpe: float | None
    skewness: float | None
    kurtosis: float | None


def count_trial(database: Database, trial: Trial, at: datetime) -> None:
    """Count a strategy once, whoever else does so at the same time; its figures become those of this run."""
    count_trials(database, [trial], at)


def count_trials(database: Database, trials: Iterable[Trial], at: datetime) -> None:
    """Count several strategies in one transaction, each as `count_trial` does."""
    with database.session() as session:
        for trial in trials:
            session.execute(_counting(session, trial, at))


def _counting(session: Session, trial: Trial, at: datetime) -> Executable:
    """Return the statement that counts a strategy, or puts the figures of this run where it is counted already."""
    figures = {
        "at": aware(at),
        "starts_at": aware(trial.start),
        "ends_at": aware(trial.end),
        "bars": trial.bars,
        "trades": trial.trades,
        "days": len(trial.days),
        "sharpe": trial.sharpe,
        "skewness": trial.skewness,
        "kurtosis": trial.kurtosis,
        "daily": _packed(trial.days, trial.daily),
    }
    key = {name: getattr(trial, name) for name in ("symbol", "family", "forecasts", "configuration")}
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    adding = dialect.insert(TrialRow).values(**key, **figures, first_at=aware(at), runs=1)
    counting: Executable = adding.on_conflict_do_update(
        index_elements=list(key), set_={**figures, "runs": TrialRow.runs + 1}
    )
    return counting


def counted_trials(
    database: Database, symbol: str | None, start: np.datetime64 | None = None, end: np.datetime64 | None = None
) -> list[Trial]:
    """Return every strategy tried on `symbol`, or on any, whose span touches [start, end], in order of first trial."""
    query = select(TrialRow) if symbol is None else select(TrialRow).where(TrialRow.symbol == symbol)
    if end is not None:
        query = query.where(TrialRow.starts_at <= aware(end))
    if start is not None:
        query = query.where(TrialRow.ends_at >= aware(start))
    with database.reading() as session:
        return [_trial(row) for row in session.scalars(query.order_by(TrialRow.first_at, TrialRow.id))]


def _trial(row: TrialRow) -> Trial:
    days, daily = _unpacked(row.daily, row.days)
    return Trial(
        symbol=row.symbol,
        family=row.family,
        forecasts=row.forecasts,
        configuration=row.configuration,
        start=to_datetime64(row.starts_at),
        end=to_datetime64(row.ends_at),
        bars=row.bars,
        trades=row.trades,
        days=days,
        daily=daily,
        sharpe=row.sharpe,
        skewness=row.skewness,
        kurtosis=row.kurtosis,
    )


def _packed(days: Times, daily: Floats) -> bytes:
    """Return days since 1970 as int32, then returns as float32, little-endian."""
    return days.astype("datetime64[D]").astype("<i4").tobytes() + daily.astype("<f4").tobytes()


def _unpacked(data: bytes, count: int) -> tuple[Times, Floats]:
    if len(data) != 8 * count:
        raise StoreError(f"A backtest trial of {count} days has {len(data)} bytes, not {8 * count}: delete its row.")
    days = np.frombuffer(data, dtype="<i4", count=count).astype("datetime64[D]")
    return days, np.frombuffer(data, dtype="<f4", offset=4 * count).astype(np.float64)
