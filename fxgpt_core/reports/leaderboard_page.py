"""The page of the leaderboard: all pairs at a glance; opens offline."""

from __future__ import annotations

from collections.abc import Mapping

from fxgpt_core.evaluation.leaderboard import Leaderboard
from fxgpt_core.reports.pages import page_environment


def render_leaderboard(board: Leaderboard, labels: Mapping[str, str], made_at: str) -> str:
    """Return the page as one HTML text without any outside reference; `labels`: family -> what people call it."""
    return page_environment().get_template("leaderboard.html").render(board=board, labels=labels, made_at=made_at)
