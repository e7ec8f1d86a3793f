"""Parquet tables with a time column or index and OHLC (or both sides', or quotes)."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.files.layouts.columns import roles
from fxgpt_core.market.files.layouts.layout import Layout, Member, RawTable


def _recognise(member: Member) -> bool:
    return member.data[:4] == b"PAR1"


def _read(member: Member) -> RawTable:
    frame = parquet_frame(member)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    meaning = roles(member.where, [str(name) for name in frame.columns])
    if "time" in meaning.columns:
        raise BadInputError(f"{member.where} splits date and time into two columns: join them into one.")
    frame.columns = pd.Index([str(name) for name in frame.columns])
    out = pd.DataFrame({role: frame[column] for role, column in meaning.columns.items()})
    out.insert(0, "line", np.arange(1, len(out) + 1))
    return RawTable(
        out.assign(malformed=False),
        "parquet",
        kind="ticks" if meaning.kind == "ticks" else "bars",
        clock="UTC" if meaning.named_utc else "",
        clock_how=f"the name of the time column {meaning.named_utc!r} says so" if meaning.named_utc else "",
        side=meaning.side,
        side_how="from the header" if meaning.side else "",
    )


def parquet_frame(member: Member) -> pd.DataFrame:
    """Return the table as pandas reads it; raises BadInputError when it is damaged."""
    try:
        return pq.read_table(io.BytesIO(member.data)).to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise BadInputError(f"{member.where} is a damaged Parquet file: {reason}.") from error


LAYOUT = Layout("parquet", _recognise, _read)
