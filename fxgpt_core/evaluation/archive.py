"""Forecasts of whole spans in the lake: one part per fold or span, long tables that DuckDB can query."""

from __future__ import annotations

import pyarrow as pa

from fxgpt_core.common.errors import DataError
from fxgpt_core.common.forecast import Forecast, concat
from fxgpt_core.market.lake import Lake, Manifest

CALIBRATED = "calibrated"
_DRAWS = b"draws"


def write_part(lake: Lake, dataset: str, symbol: str, family: str, part: str, forecast: Forecast) -> None:
    """Write one part, replacing it if it is there; of samples only their number is kept, for `read_draws`."""
    table = pa.Table.from_pandas(forecast.to_frame(), preserve_index=False)
    if forecast.samples is not None:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _DRAWS: str(forecast.samples.shape[1])})
    lake.write(dataset, _keys(symbol, family), part, table)


def read_part(lake: Lake, dataset: str, symbol: str, family: str, part: str) -> Forecast:
    """Read one part back; raises DataError when it is missing."""
    return Forecast.from_frame(lake.read(dataset, _keys(symbol, family), [part]).to_pandas())


def read_draws(lake: Lake, dataset: str, symbol: str, family: str) -> int | None:
    """Return how many samples a family's quantiles were read off, the fewest of all parts; None where it drew none."""
    keys = _keys(symbol, family)
    found = [
        int((lake.read(dataset, keys, [part], ["decided_at"]).schema.metadata or {}).get(_DRAWS, 0))
        for part in lake.parts(dataset, keys)
    ]
    return min((count for count in found if count), default=None)


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
