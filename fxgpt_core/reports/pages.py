"""The template environment of all report pages, and how they write figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fxgpt_core.common.timeframes import horizon_name

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).with_name("templates")


def page_environment() -> Environment:
    """Return the environment: escaping on, and filters for shares, signed shares, numbers and horizons."""
    from jinja2 import Environment, FileSystemLoader, select_autoescape

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=select_autoescape(), trim_blocks=True)
    environment.filters.update(
        percent=_percent, signed=_signed, number=_number, sci=lambda v: f"{v:.3e}", horizon=horizon_name
    )
    return environment


def _percent(value: float | None, digits: int = 1) -> str:
    return "n/a" if value is None else f"{value:.{digits}%}"


def _signed(value: float | None, digits: int = 2) -> str:
    return "n/a" if value is None else f"{value:+.{digits}%}"


def _number(value: float | None, digits: int = 2) -> str:
    return "n/a" if value is None else f"{value:,.{digits}f}"
