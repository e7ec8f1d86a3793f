"""The inbox: a dropped file is imported and kept, a bad one is kept with its reason."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from market_helpers import as_csv, bars

from fxgpt_core.common.errors import StoreError
from fxgpt_core.market import inbox as inbox_module
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.history import load_candles
from fxgpt_core.market.inbox import Inbox
from fxgpt_core.market.lake import Lake

NOW = datetime(2024, 3, 5, 12, tzinfo=UTC)
QUALITY = QualityConfig()


def _drop(inbox: Inbox, name: str, text: str, age: float = 60.0) -> Path:
    path = inbox.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (NOW.timestamp() - age,) * 2)
    return path


def test_a_dropped_file_is_imported_and_moved_to_done(tmp_path: Path) -> None:
    inbox, lake = Inbox(tmp_path / "inbox"), Lake(tmp_path / "lake")
    path = _drop(inbox, "EURUSD_mid.csv", as_csv(bars(600)))
    assert inbox.waiting(NOW) == [path]
    taken = inbox.take(lake, path, QUALITY)
    assert taken.result is not None
    assert taken.moved_to == inbox.root / "done" / "EURUSD_mid.csv"
    assert len(load_candles(lake, "EURUSD", "1h")) == 600
    assert inbox.waiting(NOW) == []


def test_a_file_that_cannot_be_used_is_kept_with_its_reason(tmp_path: Path) -> None:
    inbox, lake = Inbox(tmp_path / "inbox"), Lake(tmp_path / "lake")
    taken = inbox.take(lake, _drop(inbox, "EURUSD.csv", "no,table\n1,2\n"), QUALITY)
    assert taken.result is None
    assert not taken.unexpected
    assert taken.moved_to.read_text() == "no,table\n1,2\n"
    assert (inbox.root / "rejected" / "EURUSD.csv.reason.txt").read_text().strip() == taken.reason


def test_a_subfolder_says_whose_bars_these_are(tmp_path: Path) -> None:
    inbox, lake = Inbox(tmp_path / "inbox"), Lake(tmp_path / "lake")
    taken = inbox.take(lake, _drop(inbox, "eur-usd/bars.csv", as_csv(bars(600))), QUALITY)
    assert taken.result is not None
    assert taken.result.symbol == "EURUSD"
    assert taken.moved_to == inbox.root / "done" / "eur-usd" / "bars.csv"
    wrong = inbox.take(lake, _drop(inbox, "notes/bars.csv", as_csv(bars(600))), QUALITY)
    assert "notes" in str(wrong.reason)


def test_files_that_are_still_being_copied_or_hidden_wait(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    for name, age in (("EURUSD_new.csv", 1.0), (".EURUSD.csv", 60), ("EURUSD.csv.part", 60), ("done/EURUSD.csv", 60)):
        _drop(inbox, name, "x", age)
    assert inbox.waiting(NOW) == []


def test_a_second_file_of_the_same_name_never_replaces_the_first(tmp_path: Path) -> None:
    inbox, lake = Inbox(tmp_path / "inbox"), Lake(tmp_path / "lake")
    first = _drop(inbox, "EURUSD_mid.csv", as_csv(bars(600)))
    key = inbox.key([first])
    inbox.take(lake, first, QUALITY)
    second = _drop(inbox, "EURUSD_mid.csv", as_csv(bars(700)), age=30)
    assert inbox.key([second]) != key
    assert inbox.take(lake, second, QUALITY).moved_to.name == "EURUSD_mid_2.csv"


def test_a_lake_that_cannot_be_written_leaves_the_file_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(tmp_path / "inbox")
    path = _drop(inbox, "EURUSD_mid.csv", as_csv(bars(600)))

    def refuse(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(inbox_module, "import_file", refuse)
    with pytest.raises(StoreError):
        inbox.take(Lake(tmp_path / "lake"), path, QUALITY)
    assert inbox.waiting(NOW) == [path]


def test_a_fault_of_ours_is_told_from_a_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(tmp_path / "inbox")
    path = _drop(inbox, "EURUSD_mid.csv", as_csv(bars(600)))

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("float division")

    monkeypatch.setattr(inbox_module, "import_file", fail)
    taken = inbox.take(Lake(tmp_path / "lake"), path, QUALITY)
    assert taken.unexpected
    assert "Traceback" in (inbox.root / "rejected" / "EURUSD_mid.csv.reason.txt").read_text()
