"""The report of a materialised symbol is one page that opens offline and says who is champion, and why."""

from __future__ import annotations

import re

from tests.pipeline.small_home import SYMBOL, SmallHome


def test_report_is_complete_and_self_contained(base: SmallHome) -> None:
    page = (base.home.reports / SYMBOL / "overview.html").read_text(encoding="utf-8")
    assert not re.search(r'src="|<link|@import|url\((?!#)', page), "the page must not load anything"
    assert re.findall(r'href="(?!#)([^"]*)"', page) == ["quality.html"]
    assert (base.home.reports / SYMBOL / "quality.html").is_file()
    for heading in ("Forecast", "Who is champion", "Skill", "Calibration", "Backtest after costs", "Drift", "Data"):
        assert heading in page
    assert "EWMA walk" in page
    assert f"champion {SYMBOL}/" in page


def test_drift_figures_lie_beside_the_report(base: SmallHome) -> None:
    assert (base.home.reports / SYMBOL / "drift.json").exists()
