"""`fxgpt download`: says what was asked and what came, and ends with the right code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from provider_servers import ProviderServer, Reply, dukascopy, missing_file, serving

SPAN = ("--from", "2024-02-05", "--to", "2024-02-07")


@pytest.fixture
def feed() -> Iterator[ProviderServer]:
    with serving(dukascopy) as server:
        yield server


def arguments(server: ProviderServer, *more: str) -> tuple[str, ...]:
    options = [f"base_url={server.url}", "requests_per_minute=60000", "backoff=0", "retries=0"]
    chosen = [part for option in options for part in ("--option", option)]
    return ("download", "eur/usd", "--provider", "dukascopy", "--timeframe", "1m", *SPAN, *chosen, *more)


def test_download_says_what_came_and_again_asks_for_nothing(
    fxgpt: Callable[..., Any], feed: ProviderServer, home: Path
) -> None:
    answer = fxgpt(*arguments(feed))
    assert answer.code == 0, answer.err
    assert "2024-02-05T00:00:00Z to 2024-02-07T00:00:00Z (2880 bars of market hours)" in answer.out
    assert "came        2880 bars" in answer.out
    assert "requests    4" in answer.out
    assert "dukascopy EURUSD 1m 2880/2880" in answer.err
    assert "Next: fxgpt materialize --symbol EURUSD" in answer.out
    again = fxgpt(*arguments(feed, "--json"))
    assert again.code == 0
    assert again.json()["asked"] == []
    assert again.json()["error"] is None
    assert len(feed.asked) == 4
    assert stored(home) == 2880
    assert fxgpt("check", "data", "EURUSD").code == 0


def test_a_month_is_fetched_anew_on_demand(fxgpt: Callable[..., Any], feed: ProviderServer) -> None:
    fxgpt(*arguments(feed))
    answer = fxgpt(*arguments(feed, "--month", "2024-02", "--json")).json()
    assert (answer["answered_bars"], answer["rows_changed"]) == (2880, 0)
    assert len(feed.asked) == 8


def test_a_provider_that_fails_is_one_sentence_and_exit_code_1(
    fxgpt: Callable[..., Any], feed: ProviderServer, home: Path
) -> None:
    feed.script = [None, None, Reply(500)]
    answer = fxgpt(*arguments(feed, "--json"))
    assert answer.code == 1
    assert answer.json()["answered_bars"] == 1440
    assert "1440 bars came before; the same download carries on there." in answer.json()["error"]
    assert answer.json()["open_from"] == "2024-02-06T00:00:00Z"
    assert sum(line.startswith("Error:") for line in answer.err.splitlines()) == 1
    assert fxgpt(*arguments(feed)).code == 0
    assert stored(home) == 2880


def stored(home: Path) -> int:
    """Return how many minute bars the lake of a home holds."""
    from fxgpt_core.market.history import load_candles
    from fxgpt_core.market.lake import Lake

    return len(load_candles(Lake(home / "lake"), "EURUSD", "1m"))


def test_no_bars_is_a_warning(fxgpt: Callable[..., Any]) -> None:
    with serving(missing_file("EURUSD")) as server:
        answer = fxgpt(*arguments(server))
    assert answer.code == 0
    assert "warning     dukascopy has no bar of EURUSD" in answer.out
    assert "Next:" not in answer.out


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--provider", "dukascopi"], "did you mean 'dukascopy'"),
        (["--timeframe", "7m"], "Unknown timeframe"),
        (["--from", "yesterday"], "--from 'yesterday' is no day or time"),
        (["--to", "2024-02-01"], "--to 2024-02-01 does not lie after --from 2024-02-05"),
        (["--option", "tick=true"], "unknown key 'tick'; did you mean 'ticks'"),
        (["--option", "ticks"], "not written as NAME=VALUE"),
        (["--month", "Feb"], "Month 'Feb' is not written as YYYY-MM"),
        (["--provider", "tiingo"], "set TIINGO_API_KEY"),
    ],
)
def test_wrong_options_are_bad_input(
    fxgpt: Callable[..., Any], feed: ProviderServer, more: list[str], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIINGO_API_KEY", raising=False)
    monkeypatch.delenv("TIINGO_API_KEY_FILE", raising=False)
    answer = fxgpt(*arguments(feed, *more))
    assert answer.code == 2
    assert part in answer.err
    assert feed.asked == []


def test_a_refused_key_is_bad_input_and_never_shown(fxgpt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIINGO_API_KEY", "wrong-secret-key")
    with serving(lambda asked: Reply(401, b'{"detail": "Invalid token wrong-secret-key."}')) as server:
        answer = fxgpt(
            "--debug", "download", "EURUSD", "--provider", "tiingo", "--timeframe", "5m", *SPAN,
            "--option", f"base_url={server.url}",
        )  # fmt: skip
        assert len(server.asked) == 1
    assert answer.code == 2
    assert "does not accept the key in TIINGO_API_KEY" in answer.err
    assert "wrong-secret" not in answer.err + answer.out


def test_what_the_asset_says_need_not_be_said_again(
    fxgpt: Callable[..., Any], feed: ProviderServer, home: Path
) -> None:
    (home.parent / "configs" / "assets" / "GBPUSD.yaml").write_text(
        f"symbol: GBPUSD\nsource: dukascopy\nsince: 2024-02-05\ntimeframes: [1h]\nhorizons: [1h]\n"
        f"provider: {{base_url: {feed.url}, retries: 0}}\n"
    )
    answer = fxgpt("download", "GBPUSD", "--to", "2024-02-06")
    assert answer.code == 0, answer.err
    assert "GBPUSD 1h from dukascopy" in answer.out
    assert "came        24 bars" in answer.out
    missing = fxgpt("download", "USDJPY", "--provider", "dukascopy")
    assert missing.code == 2
    assert "Say --timeframe" in missing.err


def test_a_download_that_is_killed_carries_on(home: Path, feed: ProviderServer, fxgpt: Callable[..., Any]) -> None:
    calm = feed.respond

    def slow(asked: Any) -> Reply:
        time.sleep(0.3 if "/01/06/" in asked.path else 0)
        return calm(asked)

    feed.respond = slow
    command = [sys.executable, "-m", "fxgpt_pipeline.cli.main", *arguments(feed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
    until = time.monotonic() + 600
    while len(feed.asked) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "/01/05/" in feed.paths[0]
    before = len(feed.asked)
    feed.respond = calm
    answer = fxgpt(*arguments(feed, "--json"))
    assert answer.code == 0, answer.err
    assert [path for path in feed.paths[before:] if "/01/05/" in path] == []
    assert stored(home) == 2880
