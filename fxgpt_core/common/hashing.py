"""Stable content hashes for configurations, definitions and inputs."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def stable_hash(value: Any, length: int = 16) -> str:
    """Return the first `length` hex digits of SHA-256 over the canonical JSON of `value` (sorted keys).

    Equal values give equal hashes in every process and on every machine; raises TypeError for what JSON cannot say.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:length]


def bytes_hash(data: bytes, length: int = 16) -> str:
    """Return the first `length` hex digits of SHA-256 over `data`."""
    return hashlib.sha256(data).hexdigest()[:length]
