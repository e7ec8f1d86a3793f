"""The quality page: complete, self-contained, small, and drawing a day as what it is."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fxgpt_core.common.timeframes import timeframe
from fxgpt_core.market import calendar
from fxgpt_core.market.bars import Source, store_given
from fxgpt_core.market.candles import Candles
from fxgpt_core.market.config import QualityConfig
from fxgpt_core.market.lake import Lake
from fxgpt_core.market.market_hours import market_hours
from fxgpt_core.market.providers.simulator import simulate
from fxgpt_core.market.quality.assessment import assess
from fxgpt_core.market.quality.coverage import daily_coverage
from fxgpt_core.reports.heat_map import COLOURS, coverage_heat_map, kinds_of_days
from fxgpt_core.reports.stored_quality import stored_quality, write_stored_quality

START = np.datetime64("2023-11-06T00:00")


class _Outside(HTMLParser):
    """Collects what a page would load, and its unclosed tags."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.loads += [value or "" for name, value in attrs if name in ("src", "href") or name.startswith("on")]


def _stored(root: Path, frame: pd.DataFrame) -> Lake:
    judged = assess(frame, "EURUSD", "15m")
    candles = Candles.from_frame(judged.clean, "EURUSD", "15m", "bid")
    facts = {"layout": "csv", "side": "bid (as given)", "time_zone": "UTC <as given>"}
    lake = Lake(root)
    store_given(lake, candles, judged, Source("march & april.csv", "abc", facts))
    return lake


def _frame() -> pd.DataFrame:
    frame = simulate("EURUSD", "15m", start=START, bars=6000, seed=3).to_frame().reset_index()
    return frame.astype({"open": object})


def test_the_page_shows_what_is_wrong_and_loads_nothing(tmp_path: Path) -> None:
    frame = _frame()
    frame.loc[200:260, "open"] = "<b>x</b>"
    frame = frame.drop(index=range(2500, 3300))
    limits = QualityConfig()
    found = stored_quality(_stored(tmp_path / "lake", frame), "EURUSD", timeframe("15m"), limits)
    page = write_stored_quality(tmp_path / "reports" / "quality.html", found, limits, "2024-05-01 12:00 UTC")
    text = page.read_text("utf-8")
    seen = _Outside()
    seen.feed(text)
    assert (seen.loads, seen.scripts) == ([], 0)
    assert "url(" not in text
    assert "@import" not in text
    for part in ("everything built on these bars is blocked", "800 expected bars missing", "61 rows set aside",
                 "march &amp; april.csv", "UTC &lt;as given&gt;", "&lt;b&gt;x&lt;/b&gt;", "made 2024"):  # fmt: skip
        assert part in text, part
    assert text.count('<tr class="failed">') == sum(
        bool(found.report.month_failures(month, limits)) for month in found.report.months
    )
    assert "<b>x</b>" not in text


def test_a_clean_history_says_so(tmp_path: Path) -> None:
    limits = QualityConfig()
    found = stored_quality(_stored(tmp_path / "lake", _frame()), "EURUSD", timeframe("15m"), limits)
    text = write_stored_quality(tmp_path / "quality.html", found, limits, "now").read_text("utf-8")
    assert "Within the limits" in text
    assert 'class="failed"' not in text
    assert found.incidents == []


def test_days_are_drawn_as_what_they_are() -> None:
    opens = calendar.bar_opens(np.datetime64("2023-12-18T22:00", "ns"), np.datetime64("2024-01-12T22:00", "ns"), "5m")
    day = calendar.session_day(opens)
    kept = np.ones(len(opens), dtype=bool)
    for text, share in (("2024-01-03", 0.0), ("2024-01-04", 0.5), ("2024-01-05", 0.9), ("2024-01-08", 0.97)):
        rows = np.flatnonzero(day == np.datetime64(text))
        kept[rows[int(len(rows) * share) :]] = False
    kinds = dict(zip(np.arange("2023-12-19", "2024-01-13", dtype="datetime64[D]").astype(str),
                     kinds_of_days(daily_coverage(opens[kept], "5m", market_hours())), strict=True))  # fmt: skip
    wanted = {"2024-01-03": "none", "2024-01-04": "few", "2024-01-05": "part", "2024-01-08": "most",
              "2024-01-09": "full", "2024-01-06": "weekend", "2023-12-25": "holiday"}  # fmt: skip
    assert {day: str(kinds[day]) for day in wanted} == wanted


def test_every_trading_day_is_a_cell_in_the_row_of_its_weekday() -> None:
    opens = calendar.bar_opens(np.datetime64("2022-06-01T22:00", "ns"), np.datetime64("2024-03-08T22:00", "ns"), "1h")
    coverage = daily_coverage(opens, "1h", market_hours())
    svg = coverage_heat_map(coverage)
    cells = re.findall(r'<rect x="(\d+)" y="(\d+)"[^>]*><title>(\S+):', svg)
    trading = coverage.days[~coverage.weekend & ~coverage.holiday]
    assert [day for _, _, day in cells] == [str(day) for day in trading]
    assert len({(x, y) for x, y, _ in cells}) == len(cells)
    rows: dict[int, set[str]] = {}
    for _, y, text in cells:
        rows.setdefault(pd.Timestamp(text).weekday(), set()).add(y)
    assert all(len(rows[weekday]) == 3 for weekday in range(5))  # one height a year


def test_fifteen_years_stay_under_a_megabyte(tmp_path: Path) -> None:
    opens = calendar.bar_opens(np.datetime64("2005-01-03T00:00", "ns"), np.datetime64("2020-01-01T00:00", "ns"), "1h")
    kept = opens[np.random.default_rng(1).random(len(opens)) < 0.96]
    price = 1.1 + 0.001 * np.sin(np.arange(len(kept)))
    nothing = np.full(len(kept), np.nan)
    high, low = price + 0.002, price - 0.002
    candles = Candles("EURUSD", timeframe("1h"), "mid", kept, price, high, low, price, nothing, nothing)
    lake = Lake(tmp_path / "lake")
    store_given(lake, candles, assess(candles.to_frame().reset_index(), "EURUSD", "1h"), Source("s", "c", {}))
    limits = QualityConfig()
    found = stored_quality(lake, "EURUSD", timeframe("1h"), limits)
    assert len(found.incidents) > 2000
    page = write_stored_quality(tmp_path / "quality.html", found, limits, "now")
    assert page.stat().st_size < 1_000_000
    assert "Not shown: " in page.read_text("utf-8")


@pytest.mark.parametrize("pair", [("full", "none"), ("most", "part"), ("full", "few"), ("holiday", "most")])
def test_colours_differ_in_lightness_too(pair: tuple[str, str]) -> None:
    """Hue alone would fail colour-blind eyes and printers."""

    def lightness(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    first, second = (lightness(COLOURS[kind]) for kind in pair)
    assert abs(first - second) > 0.03
