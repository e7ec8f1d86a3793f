"""Whether live forecasts come in time and come at all: a pure judgement of latency and failures (SPEC 13)."""

from __future__ import annotations

from fxgpt_core.policy.live_config import LiveConfig

_FEWEST = 20
"""Decisions below which a 95th percentile is a single forecast."""
_LEVEL = 0.05


def slow(latency_p95: float | None, decisions: int, config: LiveConfig) -> str:
    """Return the sentence about forecasts that take too long (milliseconds), empty where they do not."""
    if latency_p95 is None or decisions < _FEWEST or latency_p95 <= config.max_latency_ms:
        return ""
    return (
        f"95 % of forecasts take up to {latency_p95:.0f} ms, limit {config.max_latency_ms:g} ({decisions} decisions)."
    )


def failing(failed: int, decisions: int, config: LiveConfig) -> str:
    """Return the sentence about too many failures among `decisions`, empty where there are few.

    Too many are those that a rate at the limit would produce in less than 5 % of cases: one failure of 24 says little.
    """
    if not too_many(failed, decisions, config.max_error_rate):
        return ""
    return f"{failed} of {decisions} decisions have no forecast, limit {config.max_error_rate:.1%}."


def too_many(failed: int, decisions: int, limit: float) -> bool:
    """Tell whether a share of `limit` would seldom produce so many failures among `decisions`."""
    from scipy.stats import binom

    return bool(failed and binom.sf(failed - 1, decisions, limit) < _LEVEL)
