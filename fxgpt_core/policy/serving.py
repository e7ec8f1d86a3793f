"""Who answers a decision, and until when a model may: pure rules of serving (SPEC 13, 20)."""

from __future__ import annotations

import hashlib

import numpy as np

from fxgpt_core.policy.live_config import LiveConfig


def shadow_answers(symbol: str, decided_at: np.datetime64, share: float) -> bool:
    """Tell whether the shadow answers this decision: about `share` of them, always the same ones.

    A hash of symbol and decision time, so that every process, replay and restart routes alike.
    """
    moment = decided_at.astype("datetime64[s]")
    digest = hashlib.sha256(f"{symbol}|{moment}Z".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def expiry(trained_until: np.datetime64, family: str, config: LiveConfig) -> np.datetime64:
    """Return the last decision time (UTC) at which a model may forecast."""
    limit = np.timedelta64(round(config.expiry_days(family) * 86_400), "s")
    return np.datetime64(trained_until.astype("datetime64[ns]") + limit, "ns")


def expired(trained_until: np.datetime64, decided_at: np.datetime64, family: str, config: LiveConfig) -> str:
    """Return the sentence about an expired model, an empty one while it may forecast.

    Age is counted to the decision and not to today: a pair whose bars stopped has a stale feed, not an old model.
    """
    last = expiry(trained_until, family, config)
    if decided_at <= last:
        return ""
    age = (decided_at - trained_until.astype("datetime64[ns]")) / np.timedelta64(1, "D")
    return (
        f"{family} has expired: its training ends at {_minute(trained_until)}, {age:.1f} days before the bar at "
        f"{_minute(decided_at)}, and the limit is {config.expiry_days(family):g}. Retrain, or raise live.expires_days."
    )


def unusual(novelty: float | None, config: LiveConfig) -> str:
    """Return the sentence about a row that is unlike the training span, an empty one where it is not or nobody asks."""
    if config.novelty == "off" or novelty is None or novelty <= 1:
        return ""
    return (
        f"the row is {novelty:.1f} times as far from the training distribution as anything was then"
        f"{' and is refused (live.novelty)' if config.novelty == 'refuse' else ''}"
    )


def _minute(moment: np.datetime64) -> str:
    return f"{str(moment.astype('datetime64[m]')).replace('T', ' ')} UTC"
