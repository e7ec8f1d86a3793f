"""`Decision`: what was decided, why, when and for whom; written to the audit table and shown to people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Decision:
    """One decision of a pure rule.

    `what`: the verb (`retrain`, `wait`, `postpone`, `champion`, `shadow`, …); `reasons`: sentences for a person;
    `evidence`: the JSON-able values it rests on; `at`: decision time, datetime64[ns] UTC; `cause`: key of what
    called for it, "" for none.
    """

    symbol: str
    what: str
    reasons: tuple[str, ...]
    at: np.datetime64
    cause: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "symbol": self.symbol,
            "what": self.what,
            "reasons": list(self.reasons),
            "at": str(self.at),
            "cause": self.cause,
            "evidence": dict(self.evidence),
        }
