"""Forecasts of whole spans in the lake: one part per fold or span, long tables that DuckDB can query."""

from __future__ import annotations

import pyarrow as pa

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.market.lake import Lake, Manifest

CALIBRATED = "calibrated"


def write_part(lake: Lake, dataset: str, symbol: str, family: str, part: str, forecast: Forecast) -> None:
    """Write one part, replacing it if it is there; samples are not kept."""
    lake.write(dataset, _keys(symbol, family), part, pa.Table.from_pandas(forecast.to_frame(), preserve_index=False))


def read_part(lake: Lake, dataset: str, symbol: str, family: str, part: str) -> Forecast:
    """Read one part back; raises DataError when it is missing."""
    return Forecast.from_frame(lake.read(dataset, _keys(symbol, family), [part]).to_pandas())


def write_span(lake: Lake, dataset: str, forecast: Forecast, fingerprint: str) -> None:
    """Replace everything stored for the forecast's symbol and family by this forecast."""
    keys = _keys(forecast.symbol, forecast.family)
    write_part(lake, dataset, forecast.symbol, forecast.family, "span=all", forecast)
    lake.write_manifest(dataset, keys, Manifest(fingerprint, dataset, {}, {}, {"rows": len(forecast)}))


def read_span(lake: Lake, dataset: str, symbol: str, family: str) -> Forecast:
    """Read all parts of a family in time order; raises DataError saying what to materialise."""
    parts = lake.parts(dataset, _keys(symbol, family))
    if not parts:
        raise DataError(
            f"No {dataset} forecasts of {family} for {symbol}: run `fxgpt materialize '*' --symbol {symbol}`."
        )
    read = [read_part(lake, dataset, symbol, family, part) for part in parts]
    return concat(sorted(read, key=lambda forecast: forecast.decided_at[0]))


def _keys(symbol: str, family: str) -> dict[str, str]:
    return {"symbol": symbol, "family": family}
