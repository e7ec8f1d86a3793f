"""Moving old live forecasts from the operational database to the lake, none deleted before it lies there (SPEC 13)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

import pyarrow as pa

from fxgpt_core.common.errors import StoreError
from fxgpt_core.market.lake import Lake
from fxgpt_core.store.database import Database
from fxgpt_core.store.forecast_log import delete_forecasts, oldest_forecasts
from fxgpt_core.store.models import LiveForecast

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
    ]
)
"""Columns of `forecast_log/symbol=…/month=…`; `quantiles` is JSON, level -> log return; `key` is unique and sorts.

Months that were begun before there were the last four columns go on without them."""


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
        }
        for row in rows
    ]
    return pa.Table.from_pylist(values, schema=SCHEMA)
