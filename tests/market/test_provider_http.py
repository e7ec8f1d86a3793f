"""The HTTP client of the providers: pauses, repetitions, quotas, and keys that stay hidden."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from provider_servers import Asked, ProviderServer, Reply, Seconds, serving

from fxgpt_core.common.errors import BadInputError
from fxgpt_core.market.providers.http import Broken, HttpClient, HttpConfig, Key, TokenBucket, retry_after
from fxgpt_core.market.providers.provider import AccessError, ProviderError, QuotaError

NOW = datetime(2024, 3, 6, 12, 0, tzinfo=UTC)
SECRET = "s3cr3t/key+with=signs"


def fine(asked: Asked) -> Reply:
    return Reply(body=b'{"ok": true}')


def client(server: ProviderServer, seconds: Seconds, key: bool = False, **options: Any) -> HttpClient:
    values = {"base_url": server.url, "requests_per_minute": 60_000, "burst": 100, "timeout": 30.0, **options}
    secret = Key("TEST_API_KEY", SECRET) if key else None
    return HttpClient(HttpConfig(**values), "Testing", seconds.pace, secret, parameter="apikey")


def read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise Broken("the JSON was cut off") from None


@pytest.mark.parametrize(
    "first",
    [
        Reply(500, b"oops"),
        Reply(502),
        Reply(fault="truncate"),
        Reply(fault="reset"),
        Reply(200, b'{"ok": tr'),
    ],
    ids=["500", "502", "short of its length", "connection lost", "JSON cut off"],
)
def test_what_failed_in_passing_is_asked_again(first: Reply) -> None:
    with serving(fine) as server:
        seconds = Seconds(NOW)
        server.script = [first, first]
        one = client(server, seconds)
        assert one.get("data", read) == {"ok": True}
        assert server.paths == ["/data"] * 3
        assert one.requests == 3
        assert len(seconds.slept) == 2


def test_pauses_double_with_jitter_that_the_seed_decides() -> None:
    with serving(lambda asked: Reply(500)) as server:
        runs = []
        for seed in (1, 1, 2):
            seconds = Seconds(NOW)
            with pytest.raises(ProviderError, match=r"after 5 tries: status 500"):
                client(server, seconds, retries=4, backoff=2.0, seed=seed).get("data", read)
            runs.append(seconds.slept)
        assert runs[0] == runs[1] != runs[2]
        for pause, middle in zip(runs[0], (2, 4, 8, 16), strict=True):
            assert 0.5 * middle <= pause <= 1.5 * middle


def test_a_silent_server_times_out() -> None:
    with serving(fine) as server:
        server.script = [Reply(fault="hang")]
        one = client(server, Seconds(NOW), timeout=0.2, retries=0)
        with pytest.raises(ProviderError, match=r"one try: no answer within 0.2 s"):
            one.get("data", read)


def test_an_answer_that_drips_is_given_up_although_bytes_keep_coming() -> None:
    import time

    from fxgpt_core.market.providers.provider import Pace

    with serving(lambda asked: Reply(body=b"x" * 1000)) as server:
        server.script = [Reply(fault="drip")]
        config = HttpConfig(base_url=server.url, timeout=0.1, retries=0)
        with pytest.raises(ProviderError, match=r"not complete after 0.1 s"):
            HttpClient(config, "Testing", Pace(monotonic=time.monotonic)).get("data", read)


def test_an_answer_short_of_its_length_is_no_answer() -> None:
    with serving(lambda asked: Reply(body=b"x" * 100_000)) as server:
        server.script = [Reply(fault="truncate")]
        with pytest.raises(ProviderError, match="one try: the answer was cut off"):
            client(server, Seconds(NOW), retries=0).get("data", len)
        assert client(server, Seconds(NOW)).get("data", len) == 100_000


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(status: int, form: str) -> None:
    later = datetime(2024, 3, 6, 12, 0, 40, tzinfo=UTC)
    value = "40" if form == "seconds" else format_datetime(later, usegmt=True)
    with serving(fine) as server:
        server.script = [Reply(status, b"slow down", {"Retry-After": value})]
        seconds = Seconds(NOW)
        assert client(server, seconds).get("data", read) == {"ok": True}
        assert seconds.slept == [40.0]


def test_a_long_retry_after_says_when_to_go_on_instead_of_waiting() -> None:
    with serving(fine) as server:
        server.script = [Reply(429, b"", {"Retry-After": "3600"})]
        seconds = Seconds(NOW)
        with pytest.raises(QuotaError, match=r"go on after 2024-03-06 13:00:00 UTC") as caught:
            client(server, seconds).get("data", read)
        assert caught.value.retry_at == datetime(2024, 3, 6, 13, 0, tzinfo=UTC)
        assert seconds.slept == []
        assert len(server.asked) == 1


@pytest.mark.parametrize("value", ["soon", "", "-3"])
def test_a_retry_after_that_says_nothing_is_passed_over(value: str) -> None:
    assert retry_after(value, NOW) is None


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_at_once_and_names_its_variable(status: int) -> None:
    with serving(lambda asked: Reply(status, f"no such key {SECRET}".encode())) as server:
        with pytest.raises(AccessError, match="TEST_API_KEY") as caught:
            client(server, Seconds(NOW), key=True).get("data", read)
        assert len(server.asked) == 1
        assert SECRET not in str(caught.value)
        assert caught.value.exit_code == 2


def test_the_key_is_in_the_request_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "urllib3.connectionpool")  # a registry opened before in this process silences it
    texts = []
    with serving(fine) as server:
        one = client(server, Seconds(NOW), key=True, retries=0)
        one.get("data", read)
        assert server.asked[0].parameters == {"apikey": SECRET}
        for reply in (Reply(400, SECRET.encode()), Reply(500), Reply(fault="reset"), Reply(200, b"[")):
            server.script = [reply]
            with pytest.raises(ProviderError) as caught:
                one.get("data", read)
            texts.append("".join(traceback.format_exception(caught.value)))
    closed = HttpClient(
        HttpConfig(base_url=server.url, retries=0), "Testing", Seconds(NOW).pace, one.key, None, "apikey"
    )
    with pytest.raises(ProviderError) as caught:
        closed.get("data", read)
    texts.append("".join(traceback.format_exception(caught.value)))
    texts += [record.getMessage() for record in caplog.records]
    assert any("GET /data" in text for text in texts), "the HTTP library logs URLs: the test must see that"
    assert not [text for text in texts if "s3cr3t" in text]
    assert "s3cr3t" not in repr(one.key)


def test_redirects_are_not_followed_with_a_key() -> None:
    with serving(fine) as other, serving(lambda asked: Reply(302, b"", {"Location": f"{other.url}/x"})) as server:
        with pytest.raises(ProviderError, match="status 302"):
            client(server, Seconds(NOW), key=True).get("data", read)
        assert other.asked == []


def test_a_missing_page_is_an_answer() -> None:
    with serving(lambda asked: Reply(404, b"not here")) as server:
        one = client(server, Seconds(NOW))
        assert one.get("data", read) is None
        assert one.requests == 1


def test_the_bucket_lets_a_burst_through_and_then_keeps_the_rate() -> None:
    seconds = Seconds(NOW)
    bucket = TokenBucket(30, 3, seconds.pace)
    for _ in range(7):
        bucket.take()
    assert seconds.slept == pytest.approx([2.0] * 4)
    seconds.sleep(60)
    seconds.slept.clear()
    for _ in range(4):
        bucket.take()
    assert seconds.slept == pytest.approx([2.0])


def test_every_request_takes_from_the_bucket_repetitions_too() -> None:
    with serving(fine) as server:
        server.script = [Reply(500), Reply(500)]
        seconds = Seconds(NOW)
        one = client(server, seconds, requests_per_minute=6, burst=1, backoff=0.0)
        one.get("data", read)
        assert seconds.slept == pytest.approx([10.0, 10.0])
        assert one.waited == pytest.approx(20.0)


def test_a_key_comes_from_the_variable_or_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_API_KEY", raising=False)
    monkeypatch.delenv("TEST_API_KEY_FILE", raising=False)
    with pytest.raises(BadInputError, match=r"Testing needs an API key: set TEST_API_KEY, or TEST_API_KEY_FILE"):
        Key.from_environment("TEST_API_KEY", "Testing")
    file = tmp_path / "key"
    file.write_text("from-file\n")
    monkeypatch.setenv("TEST_API_KEY_FILE", str(file))
    assert Key.from_environment("TEST_API_KEY", "Testing").value == "from-file"
    monkeypatch.setenv("TEST_API_KEY", " from-variable ")
    assert Key.from_environment("TEST_API_KEY", "Testing").value == "from-variable"
    monkeypatch.setenv("TEST_API_KEY", "two\nlines")
    with pytest.raises(BadInputError, match="TEST_API_KEY") as caught:
        Key.from_environment("TEST_API_KEY", "Testing")
    assert "two" not in str(caught.value)
    monkeypatch.delenv("TEST_API_KEY")
    monkeypatch.setenv("TEST_API_KEY_FILE", str(tmp_path / "absent"))
    with pytest.raises(BadInputError, match="absent"):
        Key.from_environment("TEST_API_KEY", "Testing")
