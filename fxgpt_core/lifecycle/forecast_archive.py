"""Moving old live forecasts from the operational database to the lake, none deleted before it lies there (SPEC 13)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from fxgpt_core.common.errors import StoreError
from fxgpt_core.market.lake import Lake
from fxgpt_core.store.database import Database
from fxgpt_core.store.forecast_log import delete_forecasts, oldest_forecasts
from fxgpt_core.store.models import LiveForecast
from fxgpt_core.store.track import TrackRow

DATASET = "forecast_log"
_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("decided_at", _TIME),
        ("horizon", pa.int32()),
        ("model_version", pa.string()),
        ("family", pa.string()),
        ("trained_until", _TIME),
        ("made_at", _TIME),
        ("mean", pa.float64()),
        ("std", pa.float64()),
        ("quantiles", pa.string()),
        ("latency_ms", pa.float64()),
        ("origin", pa.string()),
        ("served", pa.bool_()),
        ("calibration", pa.string()),
        ("novelty", pa.float64()),
        ("timeframe", pa.string()),
        ("device", pa.string()),
        ("batch", pa.int32()),
        ("context", pa.string()),
    ]
)
"""Columns of `forecast_log/symbol=…/month=…`; `quantiles` is JSON, level -> log return, `context` too; `key` is unique
and sorts.

Months that were begun before there were the columns from `origin` or from `timeframe` on go on without them."""


def archive_forecasts(database: Database, lake: Lake, until: datetime, at_once: int = 20_000) -> int:
    """Move every forecast decided before `until` to the lake; returns how many rows left the database.

    Each batch is written, read back and only then deleted, so a crash leaves rows in both places and the next call
    finds them equal. Raises StoreError, deleting nothing of that batch, when the lake does not give back what it took.
    """
    moved = 0
    while rows := oldest_forecasts(database, until, at_once):
        if len(rows) == at_once:  # a decision goes with all its horizons: whoever reads meanwhile must not find half
            rows = [row for row in rows if row.decided_at < rows[-1].decided_at] or rows
        for (symbol, month), group in groupby(sorted(rows, key=_place), key=_place):
            _write(lake, symbol, f"month={month}", list(group))
        gone = delete_forecasts(database, [row.id for row in rows])
        moved += gone
    return moved


def archived_rows(lake: Lake, symbol: str, version: str, since: datetime, until: datetime) -> list[TrackRow]:
    """Return what a version forecast for decisions after `since` and up to `until` and what has left the database.

    By decision and horizon; outcomes are those of the candles and not given.
    """
    keys = {"symbol": symbol}
    parts = [part for part in lake.parts(DATASET, keys) if f"month={since:%Y-%m}" <= part <= f"month={until:%Y-%m}"]
    if not parts:
        return []
    table = lake.read(DATASET, keys, parts)
    inside = pc.and_(pc.greater(table["decided_at"], since), pc.less_equal(table["decided_at"], until))
    mine = table.filter(pc.and_(inside, pc.equal(table["model_version"], version))).sort_by("key")
    return [
        TrackRow(
            decided_at=row["decided_at"],
            made_at=row["made_at"],
            horizon=row["horizon"],
            mean=row["mean"],
            std=row["std"],
            quantiles=json.loads(row["quantiles"]),
            latency_ms=row["latency_ms"],
            origin=row.get("origin") or "live",  # months begun before the column was there
            calibration=row.get("calibration") or "",
            known_at=None,
            log_return=None,
            yardstick=None,
        )
        for row in mine.to_pylist()
    ]


def _place(row: LiveForecast) -> tuple[str, str]:
    return row.model.symbol, f"{row.decided_at:%Y-%m}"


def _write(lake: Lake, symbol: str, part: str, rows: Sequence[LiveForecast]) -> None:
    keys, table = {"symbol": symbol}, _table(rows)
    lake.upsert(DATASET, keys, part, table, on="key")
    stored = lake.read(DATASET, keys, [part], ["key"]).column("key").to_pylist()
    missing = set(table.column("key").to_pylist()) - set(stored)
    if missing:
        raise StoreError(
            f"{DATASET} {symbol} {part} lacks {len(missing)} rows that were just written, such as {min(missing)}: "
            "nothing was deleted; check the lake with `fxgpt check data`."
        )


def _table(rows: Sequence[LiveForecast]) -> pa.Table:
    values = [
        {
            "key": f"{row.decided_at:%Y-%m-%dT%H:%M:%S.%f}|{row.horizon:06d}|{row.model.mlflow_version}",
            "decided_at": row.decided_at,
            "horizon": row.horizon,
            "model_version": row.model.mlflow_version,
            "family": row.model.family,
            "trained_until": row.model.trained_until,
            "made_at": row.made_at,
            "mean": row.mean,
            "std": row.std,
            "quantiles": json.dumps(row.quantiles, sort_keys=True),
            "latency_ms": row.latency_ms,
            "origin": row.origin,
            "served": row.served,
            "calibration": row.calibration,
            "novelty": row.novelty,
            "timeframe": row.timeframe,
            "device": row.device,
            "batch": row.batch,
            "context": json.dumps(row.context, sort_keys=True),
        }
        for row in rows
    ]
    return pa.Table.from_pylist(values, schema=SCHEMA)
