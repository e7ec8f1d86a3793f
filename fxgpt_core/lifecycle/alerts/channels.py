"""Channels: the process's log, and everything that Apprise reaches (e-mail, Slack, any webhook)."""

from __future__ import annotations

import logging
from typing import Protocol

from fxgpt_core.common.errors import BadInputError, FxgptError
from fxgpt_core.lifecycle.alerts.config import LOG, AlertsConfig, ChannelConfig
from fxgpt_core.store.secrets import read_secret

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_KINDS = {"info": "info", "warning": "warning", "error": "failure"}
_TIMEOUT_SECONDS = 30.0


class DeliveryError(FxgptError):
    """A channel did not take a message."""


class Channel(Protocol):
    """Takes messages."""

    def send(self, title: str, body: str, severity: str) -> None:
        """Send one message; raises DeliveryError saying why it was not taken."""
        ...


class LogChannel:
    """Writes alerts to the log `fxgpt.alerts`."""

    def send(self, title: str, body: str, severity: str) -> None:
        logging.getLogger("fxgpt.alerts").log(_LEVELS[severity], "%s | %s", title, " ".join(body.split()))


class AppriseChannel:
    """Sends by the service that an Apprise URL names; the URL appears in no text."""

    def __init__(self, name: str, url: str, variable: str) -> None:
        from apprise import Apprise

        self._name, self._url, self._target = name, url, Apprise()
        if not self._target.add(url):
            raise BadInputError(
                f"Alert channel {name}: {variable} holds no address that Apprise knows, such as "
                "mailto://user:password@host?to=me@example.com, slack://… or json://host/path."
            )

    def send(self, title: str, body: str, severity: str) -> None:
        result = self._target.notify(
            title=title, body=body, notify_type=_KINDS[severity], body_format="text", timeout=_TIMEOUT_SECONDS
        )
        if not result:
            said = " ".join(entry.message for entry in result.logs()) or "no reason given"
            raise DeliveryError(f"Alert channel {self._name}: {said.replace(self._url, '***')[:500]}")


def open_channels(config: AlertsConfig) -> tuple[dict[str, Channel], list[str]]:
    """Return the channels that can be used, the log first, and a sentence for each that cannot."""
    channels: dict[str, Channel] = {LOG: LogChannel()}
    problems = []
    for name, channel in config.channels.items():
        try:
            channels[name] = AppriseChannel(name, _address(name, channel), channel.url_from)
        except BadInputError as error:
            problems.append(str(error))
    return channels, problems


def _address(name: str, channel: ChannelConfig) -> str:
    variable = channel.url_from
    value = read_secret(variable)
    if not value:
        raise BadInputError(
            f"Alert channel {name} has no address: set {variable}, or {variable}_FILE to a file with it."
        )
    return value
