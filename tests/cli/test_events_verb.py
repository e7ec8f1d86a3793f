"""`fxgpt events` and `fxgpt quality`: what is recognised is said, answers are tables or JSON, wrong input is exit 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fxgpt_core.market.providers.simulator import simulate

ROWS = (
    "time,event,currency,impact\n"
    "2024-01-05T13:30:00Z,Nonfarm Payrolls,USD,High\n"
    "2024-01-05T10:00:00Z,HICP,EUR,2\n"
    "2024-02-02T13:30:00Z,Nonfarm Payrolls,USD,High\n"
    "2024-02-03T13:30:00Z,,USD,High\n"
)


@pytest.fixture
def calendar(tmp_path: Path) -> Path:
    path = tmp_path / "fed.csv"
    path.write_text(ROWS)
    return path


def test_import_says_what_it_recognised(fxgpt: Callable[..., Any], calendar: Path) -> None:
    answer = fxgpt("events", "import", calendar)
    assert answer.code == 0, answer.err
    for part in (
        "3 of 4 releases, source fed",
        "name from event",
        "UTC (the stamps say so",
        "1 no_name",
        "EUR 1, USD 2",
    ):
        assert part in answer.out
    again = fxgpt("events", "import", calendar, "--json").json()
    assert (again["rows_changed"], again["rows_imported"]) == (0, 3)


def test_list_chooses_by_currency_time_and_impact(fxgpt: Callable[..., Any], calendar: Path) -> None:
    fxgpt("events", "import", calendar)
    asked = fxgpt(
        "events", "list", "--currency", "usd,EUR", "--from", "2024-01-05T12:00", "--to", "2024-02-01", "--json"
    )
    assert asked.json() == [
        {"ts_utc": "2024-01-05T13:30:00Z", "currency": "USD", "impact": "high", "name": "Nonfarm Payrolls"}
    ]
    shown = fxgpt("events", "list", "--currency", "EUR", "--impact", "MEDIUM")
    assert "HICP" in shown.out
    assert "No releases" in fxgpt("events", "list", "--currency", "EUR", "--impact", "low").out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--currency", "dollars"), "Unknown currency"),
        (("--currency", "USD", "--from", "yesterday"), "is no moment"),
        (("--currency", "USD", "--impact", "huge"), "unknown impact 'huge'"),
    ],
)
def test_a_wrong_question_is_bad_input(
    fxgpt: Callable[..., Any], calendar: Path, arguments: tuple[str, ...], part: str
) -> None:
    fxgpt("events", "import", calendar)
    answer = fxgpt("events", "list", *arguments)
    assert answer.code == 2
    assert part in answer.err


def test_quality_writes_the_page_and_says_which_month_failed(
    fxgpt: Callable[..., Any], tmp_path: Path, home: Path
) -> None:
    frame = simulate("GBPUSD", "1h", start="2024-01-03T00:00", bars=1500, seed=1).to_frame().reset_index()  # type: ignore[arg-type]
    frame = frame.drop(index=range(600, 760))
    frame["time"] = frame["ts_utc"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    path = tmp_path / "GBPUSD_1h_bid.csv"
    frame[["time", "open", "high", "low", "close", "volume"]].to_csv(path, index=False)
    assert fxgpt("import", path).code == 0
    answer = fxgpt("quality", "gbp/usd")
    assert answer.code == 0, answer.err
    assert "Over the limit: 2024-02: 160 of " in answer.out
    assert "160 expected bars missing" in answer.out
    assert (home / "reports" / "GBPUSD" / "quality.html").is_file()
    told = fxgpt("quality", "GBPUSD", "--json", "--open-page", "no").json()
    assert told["months"]["2024-02"]["missing"] == 160
    assert told["incidents"][0]["kind"] == "gap"
    assert len(told["failures"]) == 2


def test_quality_of_an_unknown_pair_says_what_to_do(fxgpt: Callable[..., Any]) -> None:
    answer = fxgpt("quality", "USDJPY")
    assert answer.code == 2
    assert "holds no bars of USDJPY: import a file" in answer.err


def test_market_hours_of_the_configuration_folder_are_used_and_checked(
    fxgpt: Callable[..., Any], tmp_path: Path, home: Path
) -> None:
    hours = simulate("GBPUSD", "1h", start="2023-12-20T00:00", bars=240, seed=1).to_frame().reset_index()  # type: ignore[arg-type]
    christmas = (hours["ts_utc"] >= "2023-12-24T22:00Z") & (hours["ts_utc"] < "2023-12-25T22:00Z")
    hours = hours[~christmas]
    hours["time"] = hours["ts_utc"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    path = tmp_path / "GBPUSD_1h_bid.csv"
    hours[["time", "open", "high", "low", "close", "volume"]].to_csv(path, index=False)
    fxgpt("import", path)
    assert fxgpt("quality", "GBPUSD", "--json").json()["missing"] == 0
    file = tmp_path / "configs" / "market_hours.yaml"
    file.write_text("rules: []\n")
    assert fxgpt("quality", "GBPUSD", "--json").json()["missing"] == 24
    file.write_text('rules: [{date: "12-25"}]\n')
    checked = fxgpt("check", "config")
    assert checked.code != 0
    assert "market_hours.yaml" in checked.out + checked.err
