"""`SegmentStore`: what a replay has finished, one segment a trained version, in the lake."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.common.hashing import stable_hash
from fxgpt_core.market.lake import Lake, Manifest
from fxgpt_core.policy.decision import Decision

RAW, CALIBRATED, DECISIONS = "retrained_raw", "retrained", "retraining_decisions"
"""Datasets of the lake: forecasts before and after calibration, and every decision with its reasons."""


@dataclass(frozen=True)
class Record:
    """One version and the span that it forecast; times ISO 8601, UTC.

    `first_bar`: base bar at whose close it was trained; `last_bar`: the last one that it forecast, at whose close
    the next version was trained unless the segment is `open`, that is cut off by the end of history. `reasons` and
    `cause` say why it was trained, `labels` its training labels by horizon, `rows` what it forecast, `calibrated` how
    much of that with a calibrator. `verdict`: the last drift verdict, which decides whether the next one is an onset.
    `print` is the hash of everything that decided the segment, those before it included.
    """

    number: int
    version: str
    trained_at: str
    trained_until: str
    first_bar: int
    last_bar: int
    open: bool
    reasons: tuple[str, ...]
    cause: str
    labels: tuple[int, ...]
    seconds: float
    rows: int
    calibrated: int
    calibrator: str
    verdict: Mapping[str, Any] | None
    print: str

    @property
    def part(self) -> str:
        """Name of the segment's part in the lake."""
        return f"version={self.number:05d}"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Rebuild from `asdict`, as JSON gives it back."""
        return cls(**{**values, "reasons": tuple(values["reasons"]), "labels": tuple(values["labels"])})


@dataclass(frozen=True)
class Segment:
    """A finished segment: its record, raw and calibrated forecasts (None without rows) and the decisions in it.

    The last decision is the one that ended it; an open segment has none that did.
    """

    record: Record
    raw: Forecast | None
    calibrated: Forecast | None
    decisions: tuple[Decision, ...]


class SegmentStore:
    """Finished segments of one symbol, family and configuration; other configurations lie beside it.

    A segment counts once the manifest names it, after its parts are written: who is killed loses the one at work.
    """

    def __init__(self, lake: Lake, symbol: str, family: str, configuration: str) -> None:
        self.lake, self.configuration = lake, configuration
        self.keys = {"symbol": symbol, "family": family, "configuration": configuration}

    def records(self) -> list[Record]:
        """Return the records of finished segments whose parts are there, in order; the first gap ends them."""
        manifest = self.lake.read_manifest(RAW, self.keys)
        listed = [] if manifest is None else [Record.from_dict(values) for values in manifest.extra["segments"]]
        there = {dataset: set(self.lake.parts(dataset, self.keys)) for dataset in (RAW, CALIBRATED, DECISIONS)}
        whole: list[Record] = []
        for record in listed:
            wanted = [DECISIONS, *([RAW] if record.rows else []), *([CALIBRATED] if record.calibrated else [])]
            if record.number != len(whole) or any(record.part not in there[dataset] for dataset in wanted):
                break
            whole.append(record)
        return whole

    def keep(self, records: Sequence[Record]) -> None:
        """Forget every segment but these."""
        self._list(records)  # the manifest goes first: a crash in between leaves parts that nobody trusts
        kept = {record.part for record in records}
        for dataset in (RAW, CALIBRATED, DECISIONS):
            stale = [part for part in self.lake.parts(dataset, self.keys) if part not in kept]
            self.lake.remove(dataset, self.keys, stale)

    def save(self, segment: Segment) -> None:
        """Write a segment behind those that are there, then record it as finished."""
        record = segment.record
        for dataset, forecast in ((RAW, segment.raw), (CALIBRATED, segment.calibrated)):
            if forecast is not None:
                self.lake.write(dataset, self.keys, record.part, self._described(record, _forecast_table(forecast)))
        self.lake.write(DECISIONS, self.keys, record.part, self._described(record, _decision_table(segment.decisions)))
        self._list([*self.records()[: record.number], record])

    def read(self, record: Record) -> Segment:
        """Read a finished segment back."""
        raw, calibrated = (
            Forecast.from_frame(self.lake.read(dataset, self.keys, [record.part]).to_pandas()) if rows else None
            for dataset, rows in ((RAW, record.rows), (CALIBRATED, record.calibrated))
        )
        table = self.lake.read(DECISIONS, self.keys, [record.part])
        return Segment(record, raw, calibrated, tuple(_decision(row) for row in table.to_pylist()))

    def _list(self, records: Sequence[Record]) -> None:
        listed = {"segments": [asdict(record) for record in records]}
        prints = stable_hash([record.print for record in records])
        self.lake.write_manifest(RAW, self.keys, Manifest(prints, self.configuration, {}, {}, listed))

    def _described(self, record: Record, table: pa.Table) -> pa.Table:
        """Say in the file itself which model and configuration it comes from."""
        facts = {
            "model_version": record.version,
            "trained_at": record.trained_at,
            "trained_until": record.trained_until,
            "configuration": self.configuration,
        }
        said = {name.encode(): value.encode() for name, value in facts.items()}
        return table.replace_schema_metadata({**(table.schema.metadata or {}), **said})


def joined(segments: Sequence[Segment], symbol: str, family: str) -> tuple[Forecast, Forecast]:
    """Return raw and calibrated forecasts of all segments; raises DataError where one of them has no row."""
    raw = [segment.raw for segment in segments if segment.raw is not None]
    calibrated = [segment.calibrated for segment in segments if segment.calibrated is not None]
    if not raw or not calibrated:
        raise DataError(
            f"The replay of {family} for {symbol} has {len(raw)} versions that forecast and {len(calibrated)} with a "
            "calibrator before them: import more history, or retrain more often."
        )
    return concat(raw), concat(calibrated)


def _forecast_table(forecast: Forecast) -> pa.Table:
    return pa.Table.from_pandas(replace(forecast, samples=None).to_frame(), preserve_index=False)


_DECISION_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("decided_at", pa.timestamp("ns", tz="UTC"), metadata={"meaning": "close of the last bar known"}),
        pa.field("what", pa.string(), metadata={"meaning": "retrain, wait or postpone"}),
        pa.field("reasons", pa.list_(pa.string())),
        pa.field("cause", pa.string(), metadata={"meaning": "what began, empty for age and for what a person asked"}),
        pa.field("evidence", pa.string(), metadata={"meaning": "JSON of everything that the rule looked at"}),
    ]
)


def _decision_table(decisions: Sequence[Decision]) -> pa.Table:
    rows = [
        {
            "symbol": decision.symbol,
            "decided_at": int(decision.at.astype("datetime64[ns]").astype(np.int64)),
            "what": decision.what,
            "reasons": list(decision.reasons),
            "cause": decision.cause,
            "evidence": json.dumps(dict(decision.evidence), sort_keys=True),
        }
        for decision in decisions
    ]
    return pa.Table.from_pylist(rows, schema=_DECISION_SCHEMA)


def _decision(row: Mapping[str, Any]) -> Decision:
    return Decision(
        symbol=row["symbol"],
        what=row["what"],
        reasons=tuple(row["reasons"]),
        at=np.datetime64(row["decided_at"].to_datetime64(), "ns"),
        cause=row["cause"],
        evidence=json.loads(row["evidence"]),
    )
