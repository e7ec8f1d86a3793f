"""The inbox: a dropped file is imported and kept, a bad one is kept with its reason."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from file_makers import zipped
from market_helpers import as_csv, bars

from fxgpt_core.common.errors import StoreError
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.files import importing as importing_module
from fxgpt_core.market.files import inbox as inbox_module
from fxgpt_core.market.files.importing import Imports
from fxgpt_core.market.files.inbox import Inbox, Taken
from fxgpt_core.market.history import load_candles
from fxgpt_core.market.lake import Lake

NOW = datetime(2024, 3, 5, 12, tzinfo=UTC)
QUALITY = QualityConfig()


def _drop(inbox: Inbox, name: str, text: str, age: float = 60.0) -> Path:
    path = inbox.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (NOW.timestamp() - age,) * 2)
    return path


def _take(inbox: Inbox, lake: Lake, path: Path) -> Taken:
    (taken,) = inbox.take(lake, [path], QUALITY)
    return taken


def test_a_dropped_file_is_imported_and_moved_to_done(tmp_path: Path) -> None:
    inbox, lake = Inbox(tmp_path / "inbox"), Lake(tmp_path / "lake")
    path = _drop(inbox, "EURUSD_mid.csv", as_csv(bars(600)))
    assert inbox.waiting(NOW) == [path]
    taken = _take(inbox, lake, path)
    assert taken.reason is None
    assert taken.moved_to == inbox.root / "done" / "EURUSD_mid.csv"
    assert len(load_candles(lake, "EURUSD", "1h")) == 600
    assert inbox.waiting(NOW) == []


def test_a_file_that_cannot_be_used_is_kept_with_its_reason(tmp_path: Path) -> None:
    inbox, lake = Inbox(tmp_path / "inbox"), Lake(tmp_path / "lake")
    taken = _take(inbox, lake, _drop(inbox, "EURUSD.csv", "no,table\n1,2\n"))
    assert taken.imported == ()
    assert not taken.unexpected
    assert taken.moved_to.read_text() == "no,table\n1,2\n"
    assert (inbox.root / "rejected" / "EURUSD.csv.reason.txt").read_text().strip() == taken.reason


def test_a_subfolder_says_whose_bars_these_are(tmp_path: Path) -> None:
    inbox, lake = Inbox(tmp_path / "inbox"), Lake(tmp_path / "lake")
    taken = _take(inbox, lake, _drop(inbox, "eur-usd/bars.csv", as_csv(bars(600))))
    assert taken.reason is None
    assert taken.imported[0]["symbol"] == "EURUSD"
    assert taken.moved_to == inbox.root / "done" / "eur-usd" / "bars.csv"
    wrong = _take(inbox, lake, _drop(inbox, "notes/bars.csv", as_csv(bars(600))))
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
    _take(inbox, lake, first)
    second = _drop(inbox, "EURUSD_mid.csv", as_csv(bars(700)), age=30)
    assert inbox.key([second]) != key
    assert _take(inbox, lake, second).moved_to.name == "EURUSD_mid_2.csv"


def test_a_lake_that_cannot_be_written_leaves_the_file_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(tmp_path / "inbox")
    path = _drop(inbox, "EURUSD_mid.csv", as_csv(bars(600)))

    def refuse(*_: object, **__: object) -> Imports:
        return Imports(failed=[(path, StoreError("the disk is full"))])

    monkeypatch.setattr(inbox_module, "import_files", refuse)
    with pytest.raises(StoreError):
        _take(inbox, Lake(tmp_path / "lake"), path)
    assert inbox.waiting(NOW) == [path]


def test_a_fault_of_ours_rejects_its_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox, lake = Inbox(tmp_path / "inbox"), Lake(tmp_path / "lake")
    bad, good = _drop(inbox, "EURUSD_bad.csv", as_csv(bars(600))), _drop(inbox, "EURUSD_mid.csv", as_csv(bars(600)))
    whole = inbox_module.import_files

    def fail(lake: Lake, paths: Any, *more: Any) -> Imports:
        if bad in paths:
            raise ZeroDivisionError("float division")
        return whole(lake, paths, *more)

    monkeypatch.setattr(inbox_module, "import_files", fail)
    taken = inbox.take(lake, [bad, good], QUALITY)
    assert [one.unexpected for one in taken] == [True, False]
    assert "Traceback" in (inbox.root / "rejected" / "EURUSD_bad.csv.reason.txt").read_text()
    assert len(load_candles(lake, "EURUSD", "1h")) == 600


def test_what_an_archive_brought_is_told_although_the_rest_of_it_is_rejected(tmp_path: Path) -> None:
    inbox, lake = Inbox(tmp_path / "inbox"), Lake(tmp_path / "lake")
    path = _drop(inbox, "several.zip", "")
    bad = "time,open,high,low,close\n2024-01-02 00:00:00,1,1,1,1\n"
    path.write_bytes(zipped({"EURUSD_mid.csv": as_csv(bars(600)), "USDJPY.csv": bad}))
    os.utime(path, (NOW.timestamp() - 60,) * 2)
    taken = _take(inbox, lake, path)
    assert taken.moved_to == inbox.root / "rejected" / "several.zip"
    assert [one["symbol"] for one in taken.imported] == ["EURUSD"]
    said = (inbox.root / "rejected" / "several.zip.reason.txt").read_text()
    assert "USDJPY.csv" in said
    assert "these were imported from it: 600 EURUSD 1h mid bars" in said
    assert len(load_candles(lake, "EURUSD", "1h")) == 600


def test_a_fault_of_ours_inside_an_import_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox, lake = Inbox(tmp_path / "inbox"), Lake(tmp_path / "lake")
    path = _drop(inbox, "EURUSD_mid.csv", as_csv(bars(600)))

    def fail(*_: object) -> None:
        raise ZeroDivisionError("float division")

    monkeypatch.setattr(importing_module, "judge", fail)
    taken = _take(inbox, lake, path)
    assert taken.unexpected
    assert "ZeroDivisionError" in (inbox.root / "rejected" / "EURUSD_mid.csv.reason.txt").read_text()


def test_names_as_long_as_a_folder_takes_them_are_moved_with_their_reason(tmp_path: Path) -> None:
    inbox, lake = Inbox(tmp_path / "inbox"), Lake(tmp_path / "lake")
    for letter, name in (("x", "x" * 249), ("\u00fc", "\u00fc" * 124 + "x")):
        for number in range(2):  # the second gets another name
            taken = _take(inbox, lake, _drop(inbox, f"{name}.csv", f"nothing {number}"))
            assert taken.moved_to.read_text() == f"nothing {number}"
        assert len([one for one in os.listdir(inbox.root / "rejected") if one.startswith(letter)]) == 4
    assert inbox.waiting(NOW) == []


def test_a_reason_that_cannot_be_written_is_still_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox, lake = Inbox(tmp_path / "inbox"), Lake(tmp_path / "lake")
    path = _drop(inbox, "EURUSD.csv", "no,table\n1,2\n")

    def refuse(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", refuse)
    taken = _take(inbox, lake, path)
    assert taken.moved_to == inbox.root / "rejected" / "EURUSD.csv"
    assert "No space left on device" in str(taken.reason)
