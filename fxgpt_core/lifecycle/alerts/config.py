"""`AlertsConfig`: configs/alerts.yaml, who hears of what (SPEC 13)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from fxgpt_core.common.config import Config
from fxgpt_core.store.config import folder_file

ALERTS_FILE = "alerts.yaml"
SEVERITIES = ("info", "warning", "error")
LOG = "log"
"""The channel that is always there: the process's log."""

Severity = Literal["info", "warning", "error"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class ChannelConfig(Config):
    """Where messages go. The address holds secrets, so it comes from the environment."""

    url_from: str = Field(
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable with an Apprise URL (mailto://, slack://, json://); NAME_FILE names a file.",
    )
    least: Severity = Field("warning", description="Alerts below this severity are left to the digest.")
    digests: bool = Field(True, description="Send the daily and the weekly digest here as well.")


class AlertsConfig(Config):
    """What is told, how often, and to whom."""

    channels: dict[str, ChannelConfig] = Field({}, description="Name of a channel -> where it leads.")
    at_most_per_hour: int = Field(
        20, ge=1, le=1000, description="Messages per channel; beyond it alerts wait and leave together in one message."
    )
    repeats_within_hours: float = Field(
        6.0, ge=0, le=168, description="A further alert of one kind about one symbol waits for the digest."
    )
    give_up_after_hours: float = Field(24.0, gt=0, le=720, description="Age at which a failing channel is given up.")
    interval_seconds: int = Field(60, ge=5, le=3600, description="Seconds between looks for news.")
    daily_at: str = Field("17:05", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="New York time of the digest.")
    weekly_on: Weekday = Field("friday", description="Day whose digest covers the week.")

    @field_validator("channels")
    @classmethod
    def _no_second_log(cls, value: dict[str, ChannelConfig]) -> dict[str, ChannelConfig]:
        if LOG in value:
            raise ValueError(f"{LOG!r} is the process's log and is always there: name the channel differently")
        return value


def load_alerts(config_dir: Path) -> AlertsConfig:
    """Return the folder's `alerts.yaml`, the shipped one without it; raises ConfigError naming file and key."""
    return folder_file(AlertsConfig, config_dir, ALERTS_FILE)
