"""The economic calendar: recognised, kept by currency and year, idempotent, and its clock checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_helpers import content, shared

from fxgpt_core.common.errors import BadInputError, DataError
from fxgpt_core.market.events.releases import Events, import_events, load_events
from fxgpt_core.market.events.times import suspicious_times, warnings
from fxgpt_core.market.lake import Lake

HEAD = "time,event,currency,impact\n"
ROWS = (
    "2024-01-05T13:30:00Z,Nonfarm Payrolls,USD,High\n"
    "2024-01-05T13:30:00Z,Unemployment Rate,USD,HIGH\n"
    "2024-01-05T10:00:00Z,HICP,EUR,2\n"
    "2023-12-14T13:15:00Z,ECB Rate Decision,EUR,3\n"
    "2024-01-10T00:00:00Z,Holiday,JPY,Non-Economic\n"
)


def _file(folder: Path, text: str, name: str = "fed_2024.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def _told(events: Events) -> list[tuple[str, str, str, str]]:
    times = [str(time)[:16] for time in events.ts_utc]
    return list(zip(times, events.currency, events.impact, events.name, strict=True))


def test_releases_come_back_by_currency_span_and_impact_in_time_order(lake: Lake, tmp_path: Path) -> None:
    result = import_events(lake, _file(tmp_path, HEAD + ROWS))
    assert (result.rows_read, result.rows_imported, result.rows_changed, result.source) == (5, 5, 5, "fed")
    assert result.impacts == {"none": 1, "low": 0, "medium": 1, "high": 3}
    assert (result.first, result.last) == ("2023-12-14T13:15:00Z", "2024-01-10T00:00:00Z")
    both = load_events(lake, ["usd", "EUR"])
    assert _told(both) == [
        ("2023-12-14T13:15", "EUR", "high", "ECB Rate Decision"),
        ("2024-01-05T10:00", "EUR", "medium", "HICP"),
        ("2024-01-05T13:30", "USD", "high", "Nonfarm Payrolls"),
        ("2024-01-05T13:30", "USD", "high", "Unemployment Rate"),
    ]
    span = np.datetime64("2024-01-05T10:00"), np.datetime64("2024-01-05T13:30")
    assert _told(load_events(lake, ["EUR", "USD"], *span)) == [("2024-01-05T10:00", "EUR", "medium", "HICP")]
    assert len(load_events(lake, ["EUR"], impacts=["high"])) == 1
    assert len(load_events(lake, ["EUR"], np.datetime64("2030-01-01"))) == 0
    assert np.isnat(both.known_at).all()
    assert sorted(lake.parts("events", {"currency": "EUR"})) == ["year=2023", "year=2024"]
    counted = lake.query("SELECT currency, count(*) AS n FROM events GROUP BY 1 ORDER BY 1").to_pylist()
    assert counted == [{"currency": "EUR", "n": 2}, {"currency": "JPY", "n": 1}, {"currency": "USD", "n": 2}]


def test_again_changes_nothing(lake: Lake, tmp_path: Path) -> None:
    path = _file(tmp_path, HEAD + ROWS + "2024-01-06T00:00:00Z,,USD,low\n")
    import_events(lake, path)
    before = content(lake.root)
    assert import_events(lake, path).rows_changed == 0
    assert content(lake.root) == before


def test_a_newer_file_of_a_source_moves_a_release_and_leaves_other_sources_and_spans(
    lake: Lake, tmp_path: Path
) -> None:
    import_events(lake, _file(tmp_path, HEAD + ROWS))
    import_events(lake, _file(tmp_path, HEAD + "2024-01-05T13:30:00Z,Nonfarm Payrolls,USD,low\n", "other.csv"))
    moved = ROWS.replace("2024-01-05T13:30:00Z,Nonfarm", "2024-01-05T14:30:00Z,Nonfarm").replace(
        "2023-12-14T13:15:00Z,ECB Rate Decision,EUR,3\n", ""
    )
    result = import_events(lake, _file(tmp_path, HEAD + moved, "fed_2025.csv"))
    assert result.rows_changed == 2
    assert [row for row in _told(load_events(lake, ["USD"]))] == [
        ("2024-01-05T13:30", "USD", "low", "Nonfarm Payrolls"),
        ("2024-01-05T13:30", "USD", "high", "Unemployment Rate"),
        ("2024-01-05T14:30", "USD", "high", "Nonfarm Payrolls"),
    ]
    assert len(load_events(lake, ["EUR"])) == 2  # December lies before the newer file's span


def test_a_release_that_a_newer_file_drops_is_dropped(lake: Lake, tmp_path: Path) -> None:
    import_events(lake, _file(tmp_path, HEAD + ROWS))
    import_events(lake, _file(tmp_path, HEAD + ROWS.replace("2024-01-05T10:00:00Z,HICP,EUR,2\n", "")))
    assert _told(load_events(lake, ["EUR"])) == [("2023-12-14T13:15", "EUR", "high", "ECB Rate Decision")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("whenever,CPI,USD,low", "bad_time"),
        ("1905-01-01T00:00:00Z,CPI,USD,low", "bad_time"),
        ("2024-01-05T13:30:00Z,,USD,low", "no_name"),
        ("2024-01-05T13:30:00Z,CPI,Atlantis,low", "bad_currency"),
        ("2024-01-05T13:30:00Z,CPI,USD,gigantic", "unknown_impact"),
        ("2024-01-05T13:30:00Z,CPI,USD,", "unknown_impact"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason_as_it_stood(lake: Lake, tmp_path: Path, row: str, reason: str) -> None:
    rows = "".join(f"2024-02-{day:02d}T13:30:00Z,Claims,USD,medium\n" for day in range(1, 21))
    result = import_events(lake, _file(tmp_path, HEAD + rows + row + "\n"))
    assert result.quarantined == {reason: 1}
    assert (result.rows_imported, result.rows_read) == (20, 21)
    (kept,) = lake.query("SELECT * FROM events_quarantine").to_pylist()
    assert (kept["row"], kept["reason"], kept["source"]) == (20, reason, "fed")
    assert kept["stamp"] == row.split(",")[0]
    assert kept["impact"] == row.split(",")[3]


def test_equal_releases_are_one_and_the_last_row_stands(lake: Lake, tmp_path: Path) -> None:
    twice = ROWS + "2024-01-05T13:30:00Z,Nonfarm Payrolls,USD,Low\n"
    assert import_events(lake, _file(tmp_path, HEAD + twice)).quarantined == {"duplicate": 1}
    assert _told(load_events(lake, ["USD"]))[0] == ("2024-01-05T13:30", "USD", "low", "Nonfarm Payrolls")


@pytest.mark.parametrize(
    "text",
    [
        "Date;Time;Country;Title;Importance\n2024.07.05;08:30;United States;Payrolls;moderate\n",
        "datetime,ccy,indicator,volatility\n2024-07-05 08:30:00,US,Payrolls,2.0\n",
        "start\tcurrency\tname\timpact\n07/25/2024 08:30\tUSD\tPayrolls\tORANGE\n",
    ],
)
def test_columns_of_many_names_are_recognised(lake: Lake, tmp_path: Path, text: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(BadInputError, match="name no time zone; say it with --tz"):
        import_events(lake, path)
    import_events(lake, path, tz="America/New_York")
    (found,) = _told(load_events(lake, ["USD"]))
    assert found == (found[0], "USD", "medium", "Payrolls")
    assert found[0].endswith("T12:30")  # summer time of New York


def test_a_column_named_utc_and_stamps_with_an_offset_tell_their_clock(lake: Lake, tmp_path: Path) -> None:
    named = import_events(lake, _file(tmp_path, "time_utc,name,currency,impact\n2024-07-05 12:30:00,CPI,USD,low\n"))
    assert (named.time_zone, named.time_zone_how) == ("UTC", "the column time_utc says so")
    import_events(lake, _file(tmp_path, HEAD + "2024-08-05T08:30:00-04:00,CPI,USD,low\n", "b.csv"))
    assert [row[0] for row in _told(load_events(lake, ["USD"]))] == ["2024-07-05T12:30", "2024-08-05T12:30"]


def test_since_when_a_date_was_known_is_kept(lake: Lake, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "ts_utc": pd.to_datetime(["2024-07-05 12:30", "2024-08-02 12:30"], utc=True),
            "known_at": pd.to_datetime(["2023-12-01 00:00", None], utc=True),
            "name": "Payrolls", "currency": "USD", "impact": "HIGH",
        }
    )  # fmt: skip
    path = tmp_path / "fed.parquet"
    frame.to_parquet(path)
    import_events(lake, path)
    known = load_events(lake, ["USD"]).known_at
    assert known[0] == np.datetime64("2023-12-01")
    assert np.isnat(known[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,event,currency\n2024-01-05T13:30:00Z,CPI,USD\n", "has no column for impact: it has time, event"),
        (HEAD, "holds no rows"),
        ("", "is no table of events"),
        (HEAD + "2024-01-05T13:30:00Z,CPI,USD,?\n", "none of 1 rows can be used .1 unknown_impact"),
    ],
)
def test_a_file_of_no_use_is_one_sentence_and_leaves_the_lake(
    lake: Lake, tmp_path: Path, text: str, message: str
) -> None:
    import_events(lake, _file(tmp_path, HEAD + ROWS))
    before = content(lake.root)
    with pytest.raises(BadInputError, match=message) as caught:
        import_events(lake, _file(tmp_path, text, "bad.csv"))
    assert "\n" not in str(caught.value)
    assert content(lake.root) == before
    with pytest.raises(BadInputError, match="cannot be read"):
        import_events(lake, tmp_path / "absent.csv")


def test_wrong_questions_say_what_there_is(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no events of USD, only of none"):
        load_events(lake, ["USD"])
    import_events(lake, _file(tmp_path, HEAD + ROWS))
    with pytest.raises(DataError, match="no events of GBP, only EUR, JPY, USD"):
        load_events(lake, ["GBP"])
    with pytest.raises(BadInputError, match="unknown impact 'huge'"):
        load_events(lake, ["USD"], impacts=["huge"])
    with pytest.raises(BadInputError, match="Unknown currency 'dollars'"):
        load_events(lake, ["dollars"])
    with pytest.raises(BadInputError, match="no currency"):
        load_events(lake, [])
    unsorted = np.array(["2024-01-02", "2024-01-01"], dtype="datetime64[ns]")
    words = np.array(["low", "low"], dtype=object)
    with pytest.raises(DataError, match="not sorted"):
        Events(unsorted, words, words, words, unsorted)


def _monthly(zone: str, clock: str = "08:30", months: int = 60, name: str = "CPI") -> pd.DataFrame:
    days = pd.date_range("2018-01-10", periods=months, freq="MS") + pd.Timedelta(days=9)
    local = (days + pd.Timedelta(f"{clock}:00")).tz_localize(zone)
    return pd.DataFrame({"ts_utc": local.tz_convert("UTC"), "name": name, "currency": "USD", "impact": "high"})


@settings(max_examples=40, deadline=None)
@given(row=st.integers(0, 59), hours=st.sampled_from([-1, 1]))
def test_a_release_an_hour_off_is_reported_and_no_other(row: int, hours: int) -> None:
    frame = _monthly("America/New_York")
    frame["ts_utc"] = frame["ts_utc"].dt.tz_localize(None)
    frame.loc[row, "ts_utc"] += pd.Timedelta(hours=hours)
    found = suspicious_times(frame)
    assert found.rows.tolist() == [row]
    assert f"USD CPI at {frame['ts_utc'][row]:%Y-%m-%dT%H:%M}Z" in warnings(frame, found)[0]


def test_an_import_reports_a_release_an_hour_off(lake: Lake, tmp_path: Path) -> None:
    frame = _monthly("America/New_York")
    frame.loc[30, "ts_utc"] += pd.Timedelta(hours=1)
    frame.to_parquet(tmp_path / "a.parquet")
    result = import_events(lake, tmp_path / "a.parquet")
    assert (result.suspicious, len(result.warnings)) == (1, 1)


def test_a_lasting_change_of_schedule_is_not_suspicious(lake: Lake, tmp_path: Path) -> None:
    early, late = _monthly("America/New_York"), _monthly("America/New_York", "09:30")
    pd.concat([early[:30], late[30:]]).to_parquet(tmp_path / "a.parquet")
    assert import_events(lake, tmp_path / "a.parquet").warnings == ()


def test_a_file_without_summer_time_is_told(lake: Lake, tmp_path: Path) -> None:
    wrong = pd.concat([_monthly("Etc/GMT+5", f"{8 + hour:02d}:30", name=f"event {hour}") for hour in range(6)])
    wrong.to_parquet(tmp_path / "a.parquet")
    (warning,) = [text for text in import_events(lake, tmp_path / "a.parquet").warnings if "time zone" in text]
    assert warning.startswith("6 of 6 recurring USD events move by an hour between summer and winter")
    right = pd.concat([_monthly("America/New_York", f"{8 + hour:02d}:30", name=f"event {hour}") for hour in range(6)])
    right.to_parquet(tmp_path / "b.parquet")
    assert import_events(lake, tmp_path / "b.parquet").warnings == ()


def test_real_releases_keep_their_local_times_over_every_clock_change(lake: Lake) -> None:
    result = import_events(lake, shared("calendar/events_2008_2020-02.parquet"))
    assert result.rows_read == 80_007 == result.rows_imported + sum(result.quarantined.values())
    assert not any("time zone" in warning for warning in result.warnings)
    assert result.suspicious < 0.01 * result.rows_imported
    for currency, name, zone, clock, least in (
        ("USD", "Nonfarm Payrolls", "America/New_York", "08:30", 1.0),
        ("USD", "Consumer Price Index (YoY)", "America/New_York", "08:30", 0.99),
        ("GBP", "BoE Interest Rate Decision", "Europe/London", "12:00", 0.98),
        ("EUR", "ECB Interest Rate Decision", "Europe/Berlin", "13:45", 0.97),
    ):
        found = load_events(lake, [currency])
        times = pd.DatetimeIndex(found.ts_utc[found.name == name]).tz_localize("UTC").tz_convert(zone)
        assert len(times) > 80, name
        assert (times.strftime("%H:%M") == clock).mean() >= least, name
        assert {time.utcoffset() for time in times} == {time.utcoffset() for time in times[:12]}  # both seasons
    span = np.datetime64("2016-06-23"), np.datetime64("2016-06-25")
    assert "high" in set(load_events(lake, ["GBP"], *span).impact)


def test_a_file_of_one_currency_leaves_the_others_of_its_source(lake: Lake, tmp_path: Path) -> None:
    rows = ROWS.splitlines(keepends=True)
    import_events(lake, _file(tmp_path, HEAD + "".join(row for row in rows if "USD" in row), "cal_1.csv"))
    euro = [row for row in rows if "EUR" in row] + ["2024-01-09T10:00:00Z,Unemployment,EUR,2\n"]  # around the dollars
    result = import_events(lake, _file(tmp_path, HEAD + "".join(euro), "cal_2.csv"))
    assert (result.source, result.rows_changed, result.rows_removed) == ("cal", 3, 0)
    assert (len(load_events(lake, ["USD"])), len(load_events(lake, ["EUR"]))) == (2, 3)


def test_removed_releases_are_counted_and_many_of_them_warned_of(lake: Lake, tmp_path: Path) -> None:
    import_events(lake, _file(tmp_path, HEAD + ROWS))
    rows = ROWS.splitlines(keepends=True)
    result = import_events(lake, _file(tmp_path, HEAD + "".join([rows[0], *rows[2:]]), "fed_2025.csv"))
    assert (result.rows_changed, result.rows_removed) == (1, 1)
    assert "Releases that fed named before are not in this file and were removed: 1." in result.warnings
