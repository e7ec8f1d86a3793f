"""One HTTP client for every remote provider: paced, patient with what passes, silent about keys.

An answer is decoded inside the retry loop, because a cut-off body shows only there. A key travels in the
request and nowhere else: not in exceptions, not in logs, not in what is shown of a URL.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import quote, quote_plus

import requests
from pydantic import Field
from requests.auth import AuthBase
from urllib3.exceptions import DecodeError, HTTPError, ProtocolError, ReadTimeoutError

from fxgpt_core.common.config import Config
from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.providers.provider import AccessError, Pace, ProviderError, QuotaError
from fxgpt_core.store.secrets import read_secret

_T = TypeVar("_T")
_PASSING = {408, 425}


class HttpConfig(Config):
    """How a provider is asked; each provider lays its own defaults over these."""

    base_url: str = Field(pattern=r"^https?://[^\s?#]+$", description="Where the provider answers.")
    requests_per_minute: float = Field(60.0, gt=0, le=60_000, description="Sustained rate of requests.")
    burst: int = Field(1, ge=1, le=1000, description="Requests that may follow each other without a pause.")
    timeout: float = Field(30.0, gt=0, le=600, description="Seconds until an answer must have begun, and be complete.")
    retries: int = Field(5, ge=0, le=20, description="How often a request that failed in passing is repeated.")
    backoff: float = Field(1.0, ge=0, le=60, description="Seconds before the first repetition; doubled for each next.")
    longest_wait: float = Field(
        120.0, ge=0, le=3600, description="Seconds to wait in a run when the provider says when to come back."
    )
    seed: int = Field(0, ge=0, description="Seed of the jitter on pauses; give each of several machines its own.")

    @property
    def lag_hours(self) -> float:
        """Hours until a bar that has closed can be had; freshness limits count from then on."""
        return 0.0


class Broken(Exception):
    """Raised by a reader whose answer was cut off or garbled: the request is repeated."""


class _Again(Exception):
    """A request that failed in passing; `wait` is what the provider asked for, in seconds."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True)
class Key:
    """An API key and the environment variable it comes from; its value appears in no text."""

    variable: str
    value: str = field(repr=False)

    @classmethod
    def from_environment(cls, variable: str, provider: str) -> Key:
        """Read `variable`, or the file that `variable`_FILE names; raises BadInputError saying what to set."""
        value = read_secret(variable)
        if not value:
            raise BadInputError(f"{provider} needs an API key: set {variable}, or {variable}_FILE to a file with it.")
        if not re.fullmatch(r"[!-~]+", value):
            raise BadInputError(f"The key in {variable} holds blanks or other than plain characters: set it anew.")
        return cls(variable, value)

    def hide(self, text: str) -> str:
        """Return `text` without the key."""
        for form in {self.value, quote(self.value), quote_plus(self.value)}:
            text = text.replace(form, "***")
        return text


class TokenBucket:
    """At most `burst` requests at once and `per_minute` in the long run."""

    def __init__(self, per_minute: float, burst: int, pace: Pace) -> None:
        self._rate, self._burst, self._pace = per_minute / 60, float(burst), pace
        self._tokens, self._at = float(burst), pace.monotonic()

    def take(self) -> float:
        """Wait until a request may be made; returns the seconds waited."""
        now = self._pace.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        wait = max(0.0, (1 - self._tokens) / self._rate)
        if wait > 0:
            self._pace.sleep(wait)
            self._tokens, self._at = 1.0, now + wait
        self._tokens -= 1
        return wait


class HttpClient:
    """GET requests to one provider. `requests` counts every one made, `waited` the seconds spent in pauses."""

    def __init__(
        self,
        config: HttpConfig,
        provider: str,
        pace: Pace | None = None,
        key: Key | None = None,
        header: Callable[[str], str] | None = None,
        parameter: str | None = None,
        resets: Callable[[str], datetime | None] = lambda text: None,
    ) -> None:
        """Ask as `config` says. The key goes into the Authorization header made by `header`, or into `parameter`.

        `resets` reads from a provider's text when its allowance begins anew, None where the text is about other things.
        """
        self.provider, self.pace, self.key = provider, pace or Pace(), key
        self.requests, self.waited = 0, 0.0
        self._config, self._parameter, self._resets = config, parameter, resets
        self._bucket = TokenBucket(config.requests_per_minute, config.burst, self.pace)
        self._random = random.Random(config.seed)
        self._session = requests.Session()
        # An explicit auth object, even an empty one, keeps requests from looking into ~/.netrc.
        self._session.auth = _Authorization(header(key.value) if key and header else None)
        self._session.headers["User-Agent"] = "fxgpt"
        if key is not None:
            _hide_in_logs(key)

    def get(self, path: str, read: Callable[[bytes], _T], parameters: Mapping[str, str] | None = None) -> _T | None:
        """Return `read(body)`; None when the provider has nothing there (404).

        `read` raises Broken for a body that was cut off: then, and for time-outs, lost connections and errors of the
        server, the request is repeated with growing pauses; Retry-After is obeyed. Raises AccessError for a refused
        key, QuotaError when the provider says to come back later than `longest_wait`, ProviderError otherwise.
        """
        why = ""
        for attempt in range(self._config.retries + 1):
            self.waited += self._bucket.take()
            self.requests += 1
            try:
                return self._once(path, read, parameters or {})
            except _Again as again:
                why = str(again)
                if attempt < self._config.retries:
                    self._pause(attempt, again.wait)
        tries = f"{self._config.retries + 1} tries" if self._config.retries else "one try"
        raise ProviderError(f"{self.provider} gives no usable answer for {self.shown(path)} after {tries}: {why}.")

    def shown(self, path: str) -> str:
        """Return the URL of `path` as it may be shown: without parameters."""
        return f"{self._config.base_url.rstrip('/')}/{path.lstrip('/')}".rstrip("/")

    def hide(self, text: str) -> str:
        """Return a provider's text, shortened and without the key."""
        plain = " ".join((self.key.hide(text) if self.key else text).split())
        return plain if len(plain) <= 200 else f"{plain[:197]}..."

    def refused(self, why: str) -> AccessError:
        """Return the error about a key that is not accepted."""
        what = f"the key in {self.key.variable}" if self.key else "the request"
        todo = f"set {self.key.variable} to a valid key" if self.key else "the address may be blocked"
        return AccessError(f"{self.provider} does not accept {what} ({self.hide(why)}): {todo}.")

    def quota(self, why: str, retry_at: datetime) -> QuotaError:
        """Return the error about an allowance that is used up until `retry_at`."""
        when = f"{retry_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return QuotaError(f"{self.provider} answers no more for now ({self.hide(why)}): go on after {when}.", retry_at)

    def later(self, text: str, retry_at: datetime) -> Exception:
        """Return what to raise in a reader for a message that the allowance is used up until `retry_at`.

        Within `longest_wait` the request is repeated then; beyond it, the error is a QuotaError.
        """
        wait = (retry_at - self.pace.clock.now()).total_seconds()
        return (
            _Again(self.hide(text), max(wait, 0.0)) if wait <= self._config.longest_wait else self.quota(text, retry_at)
        )

    def _once(self, path: str, read: Callable[[bytes], _T], parameters: Mapping[str, str]) -> _T | None:
        secret = {self._parameter: self.key.value} if self._parameter and self.key else {}
        status, headers, body = self._exchange(self.shown(path), {**parameters, **secret})
        if status == 404:
            return None
        if status in (401, 403):
            raise self.refused(f"status {status}: {body[:500].decode('utf-8', 'replace')}")
        if status in (429, 503):
            raise self._later(status, headers, body)
        if status in _PASSING or status >= 500:
            raise _Again(f"status {status}")
        if status not in (200, 204):
            text = self.hide(body[:500].decode("utf-8", "replace"))
            raise ProviderError(f"{self.provider} answers {self.shown(path)} with status {status}: {text}")
        try:
            return read(body)
        except Broken as error:
            raise _Again(str(error)) from None

    def _exchange(self, url: str, parameters: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        """Make one request. What requests raises names the whole URL, key included, so none of it is passed on."""
        limit = self._config.timeout
        until = self.pace.monotonic() + limit
        try:
            with self._session.get(
                url, params=dict(parameters), timeout=limit, stream=True, allow_redirects=False
            ) as reply:
                pieces = []
                while piece := reply.raw.read1(decode_content=True):  # what is there, without waiting for more
                    pieces.append(piece)
                    if self.pace.monotonic() > until:
                        raise _Again(f"the answer was not complete after {limit:g} s")
                if reply.raw.length_remaining:
                    raise _Again("the answer was cut off")
                return reply.status_code, reply.headers, b"".join(pieces)
        except (requests.Timeout, ReadTimeoutError):
            raise _Again(f"no answer within {limit:g} s") from None
        except (ProtocolError, DecodeError):
            raise _Again("the answer was cut off") from None
        except (requests.ConnectionError, HTTPError):
            raise _Again("the connection failed") from None
        except requests.RequestException as error:
            raise ProviderError(f"{self.provider} cannot be asked at {url}: {type(error).__name__}.") from None

    def _later(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
        """Return what a provider means that asks to come back: soon enough to wait for it, or not in this run."""
        now, text = self.pace.clock.now(), body[:500].decode("utf-8", "replace")
        wait = retry_after(headers.get("Retry-After"), now)
        if wait is None and (reset := self._resets(text)) is not None:
            wait = (reset - now).total_seconds()
        if wait is None:
            return _Again(f"status {status}")
        return self.later(text or f"status {status}", now + timedelta(seconds=wait))

    def _pause(self, attempt: int, asked: float | None) -> None:
        """Sleep before a repetition: what the provider asked for, else a doubling pause with jitter."""
        pause = min(self._config.backoff * 2**attempt, self._config.longest_wait) * self._random.uniform(0.5, 1.5)
        if asked is not None:
            pause = asked
        if pause > 0:
            self.waited += pause
            self.pace.sleep(pause)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header (seconds or an HTTP date), None without or with neither."""
    if value is None:
        return None
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())


class _Authorization(AuthBase):
    def __init__(self, value: str | None) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._value is not None:
            request.headers["Authorization"] = self._value
        return request


def _hide_in_logs(key: Key) -> None:
    """Take a key out of what the HTTP library logs of URLs, for as long as the process lives."""
    logger = logging.getLogger("urllib3.connectionpool")
    if not any(isinstance(known, _Hiding) and known.key == key for known in logger.filters):
        logger.addFilter(_Hiding(key))


class _Hiding(logging.Filter):
    def __init__(self, key: Key) -> None:
        super().__init__()
        self.key = key

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(self.key.hide(value) if isinstance(value, str) else value for value in record.args)
        return True
