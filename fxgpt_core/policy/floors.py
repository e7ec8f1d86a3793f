"""Absolute floors of live performance: options of a pair, off by default (SPEC 13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from fxgpt_core.common.config import Config
from fxgpt_core.common.timeframes import horizon_name

Floored = Literal["sharpe", "accuracy", "skill", "drawdown"]


class FloorsConfig(Config):
    """What a model must keep up whatever it used to do. On honest figures these would retrain for ever."""

    sharpe: float | None = Field(default=None, ge=-10, le=10, description="Sharpe ratio a year, such as 1.5.")
    accuracy: float | None = Field(default=None, gt=0, lt=1, description="Share of right directions, such as 0.6.")
    skill: float | None = Field(
        default=None, ge=-1, le=1, description="CRPS skill against a normal of the yardstick's width, such as 0."
    )
    drawdown: float | None = Field(
        default=None, gt=0, le=10, description="Largest loss from a peak, log return, such as 0.18."
    )


@dataclass(frozen=True)
class Figure:
    """One figure at one horizon (minutes) with its upper 95 % bound, by `effective_rows` outcomes."""

    measure: Floored
    horizon: int
    value: float
    high: float
    effective_rows: float


def below_floors(figures: tuple[Figure, ...], floors: FloorsConfig, min_effective: float) -> tuple[str, ...]:
    """Return a sentence for each figure that is below its floor with its upper bound, or a drawdown above its limit."""
    found = []
    for figure in figures:
        limit = getattr(floors, figure.measure)
        if limit is None or figure.effective_rows < min_effective:
            continue
        where, rows = horizon_name(figure.horizon), f"{figure.effective_rows:.0f} effective outcomes"
        if figure.measure == "drawdown":
            if figure.value > limit:
                found.append(f"drawdown at {where} is {figure.value:.1%}, limit {limit:.1%} ({rows})")
        elif figure.high <= limit if figure.measure == "skill" else figure.high < limit:
            found.append(
                f"{figure.measure} at {where} is {figure.value:.3f}, at most {figure.high:.3f}, floor {limit:g} "
                f"({rows})"
            )
    return tuple(found)
