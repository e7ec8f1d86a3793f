"""What is too good to be true, and what of it a person has looked into (DESIGN, "Honest numbers")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fxgpt_core.common.timeframes import horizon_name
from fxgpt_core.evaluation.result import Evaluation
from fxgpt_core.store.asset_config import AcknowledgedAlarm


@dataclass(frozen=True)
class RaisedAlarm:
    """One alarm of one family at one horizon, of skill or of direction.

    `name` identifies it as long as new bars only change the figure; `low` is the lower confidence bound that raised it,
    `said` the evaluation's sentence. `acknowledgement` is the entry of the asset's configuration with this name, which
    counts only up to the bound that the person saw: a larger figure is another alarm.
    """

    name: str
    low: float
    said: str
    acknowledgement: AcknowledgedAlarm | None = None

    @property
    def open(self) -> bool:
        """Whether nobody has looked into it as large as it is now."""
        return self.acknowledgement is None or self.low > self.acknowledgement.up_to

    @property
    def sentence(self) -> str:
        """What to tell a person: the figure, then who vouches for it or what to do."""
        if self.acknowledgement is None:
            where = f"acknowledged_alarms of configs/assets/{self.name.partition('-')[0]}.yaml"
            return (
                f"{self.said} (alarm {self.name}: look for the leak; a real gain goes, with its reason, into {where})"
            )
        if self.open:
            return f"{self.said} (alarm {self.name}: acknowledged up to {self.acknowledgement.up_to:.1%} only)"
        return f"{self.said} (alarm {self.name}: acknowledged, {self.acknowledgement.reason})"


def raised_alarms(
    evaluation: Evaluation, family: str, acknowledged: Sequence[AcknowledgedAlarm] = ()
) -> tuple[RaisedAlarm, ...]:
    """Return a family's alarms by horizon, skill before direction; open ones stop it at the gate.

    Names are SYMBOL-family-horizon-kind, so that an acknowledgement speaks of one figure of one model and silences no
    other. Flags of evaluations stored before alarms had figures cannot be acknowledged.
    """
    known = {entry.alarm: entry for entry in acknowledged}
    found = []
    for horizon in evaluation.horizons:
        entry = evaluation.of(family, horizon)
        stem = f"{evaluation.symbol}-{family}-{horizon_name(horizon)}"
        for index, said in enumerate(entry.flags):
            if index < len(entry.alarms):
                alarm = entry.alarms[index]
                name = f"{stem}-{alarm.kind}"
                found.append(RaisedAlarm(name, alarm.low, said, known.get(name)))
            else:
                found.append(RaisedAlarm(f"{stem}-unknown", float("inf"), said))
    return tuple(found)
