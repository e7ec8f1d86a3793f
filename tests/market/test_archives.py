"""Archives that unpack to far more than bars would, and names in them that lead elsewhere."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest
from file_makers import put, zipped
from market_helpers import as_csv, bars

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.files.layouts.archives import members

MIB = 1 << 20


@pytest.mark.parametrize("kind", ["nested zips", "zip", "gzip", "gzip in a zip"])
def test_an_archive_that_explodes_is_refused_before_it_takes_memory(tmp_path: Path, kind: str) -> None:
    made = {
        "nested zips": lambda: zipped(
            dict.fromkeys(("1.zip", "2.zip", "3.zip"), zipped({"EURUSD.csv": bytes(30 * MIB)}))
        ),
        "zip": lambda: zipped({"EURUSD.csv": bytes(100 * MIB)}),
        "gzip": lambda: gzip.compress(bytes(100 * MIB), 6),
        "gzip in a zip": lambda: zipped({"EURUSD.csv.gz": gzip.compress(bytes(100 * MIB), 6)}),
    }[kind]()
    path = put(tmp_path, "EURUSD.gz" if kind == "gzip" else "EURUSD.zip", made)
    tracemalloc.start()
    try:
        with pytest.raises(BadInputError, match="unpack it and import its parts"):
            members(path)
        assert tracemalloc.get_traced_memory()[1] < 160 * MIB  # a gzip file does not say how long it is
    finally:
        tracemalloc.stop()


def test_tables_pack_well_and_are_opened(tmp_path: Path) -> None:
    line = "2024-01-02 00:00:00,1.10000,1.10000,1.10000,1.10000,0\n"
    text = "".join(
        line.replace("00:00:00", f"{n // 3600 % 24:02d}:{n // 60 % 60:02d}:00") for n in range(0, 9_000_000, 60)
    )
    (member,) = members(put(tmp_path, "EURUSD.zip", zipped({"EURUSD.csv": text * 9})))
    assert len(member.data) > 64 * MIB


def test_a_name_that_leads_out_of_the_archive_is_only_a_name(tmp_path: Path) -> None:
    text = as_csv(bars(60))
    files = {"../../EURUSD.csv": text, ".hidden/GBPUSD.csv": text, "__MACOSX/._EURUSD.csv": text}
    (member,) = members(put(tmp_path, "multi.zip", zipped(files)))
    assert (member.name, member.symbol, member.data) == ("EURUSD.csv", "EURUSD", text.encode())
