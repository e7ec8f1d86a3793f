"""Local HTTP servers that speak the formats of the real providers, and can misbehave like them.

The formats are written here from the specification, by `struct`, `lzma` and `json`, not by the code under test.
"""

from __future__ import annotations

import json
import lzma
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fxgpt_core.market.providers.provider import Pace
from fxgpt_core.store.clock import FixedClock

Bar = tuple[datetime, float, float, float, float]
"""Open time (UTC), open, high, low, close."""


@dataclass(frozen=True)
class Reply:
    """One answer. `fault`: "truncate" (the body stops short of its length), "reset", "hang" or "drip"."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it; `path` is without parameters."""

    path: str
    parameters: dict[str, str]
    headers: dict[str, str]


class ProviderServer:
    """Answers by `respond`; `script` holds replies that come before it, None meaning the ordinary one."""

    def __init__(self, respond: Callable[[Asked], Reply]) -> None:
        self.respond, self.script, self.asked = respond, list[Reply | None](), list[Asked]()
        self.url = ""

    @property
    def paths(self) -> list[str]:
        """Paths of all requests so far, in their order."""
        return [asked.path for asked in self.asked]

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        scripted = self.script.pop(0) if self.script else None
        if scripted is None:
            return self.respond(asked)
        return replace(scripted, body=scripted.body or self.respond(asked).body) if scripted.fault else scripted


@contextmanager
def serving(respond: Callable[[Asked], Reply]) -> Iterator[ProviderServer]:
    """Run a server on a free port of 127.0.0.1 for the time of the block."""
    state = ProviderServer(respond)
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body leave together

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            reply = state.answer(Asked(parts.path, dict(parse_qsl(parts.query)), dict(self.headers.items())))
            if reply.fault == "reset":
                self.hang_up()
                return
            if reply.fault == "hang":
                stop.wait(3)
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if reply.fault == "truncate":
                self.wfile.write(reply.body[: len(reply.body) // 2])
                self.hang_up()
                return
            if reply.fault == "drip":
                for byte in reply.body[:40]:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(0.02)
                self.hang_up()
                return
            self.wfile.write(reply.body)

        def hang_up(self) -> None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionError, ValueError, OSError):
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that has hung up is part of the game."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        stop.set()
        server.shutdown()
        server.server_close()


class Seconds:
    """A clock of seconds that `sleep` moves; `slept` lists the pauses."""

    def __init__(self, at: datetime) -> None:
        self.clock, self.slept, self._now = FixedClock(at), list[float](), 0.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += seconds
        self.clock.advance(timedelta(seconds=seconds))

    def monotonic(self) -> float:
        return self._now

    @property
    def pace(self) -> Pace:
        return Pace(self.clock, self.monotonic, self.sleep)


# Dukascopy


def bi5_candles(rows: Iterable[tuple[int, int, int, int, int, float]]) -> bytes:
    """Return a minute file of (second of the day, open, high, low, close in points, volume)."""
    packed = b"".join(struct.pack(">IIIIIf", at, o, c, low, h, volume) for at, o, h, low, c, volume in rows)
    return lzma.compress(packed, format=lzma.FORMAT_ALONE)


def bi5_ticks(rows: Iterable[tuple[int, int, int]]) -> bytes:
    """Return a tick file of (millisecond of the hour, bid, ask in points)."""
    packed = b"".join(struct.pack(">IIIff", at, ask, bid, 1.5, 0.75) for at, bid, ask in rows)
    return lzma.compress(packed, format=lzma.FORMAT_ALONE)


def new_york_open(at: datetime) -> bool:
    """Return whether the FX week is open, for dates on standard time: Sunday 22:00 to Friday 22:00 UTC."""
    minute = at.weekday() * 1440 + at.hour * 60 + at.minute
    return minute < 4 * 1440 + 22 * 60 or minute >= 6 * 1440 + 22 * 60


def points(at: datetime) -> int:
    """Return a price in points for a minute, moving up and down over the day."""
    minute = int(at.timestamp()) // 60
    return 108_000 + (minute * 37) % 211


@lru_cache(maxsize=128)
def minute_file(day: datetime, side: str, spread: int = 8) -> bytes:
    """Return a whole day as the feed has it: every minute, closed ones flat with volume 0."""
    rows = []
    for minute in range(1440):
        at = day + timedelta(minutes=minute)
        price = points(at) + (spread if side == "ASK" else 0)
        if new_york_open(at):
            rows.append((minute * 60, price, price + 9, price - 7, price + 3, 12.5))
        else:
            rows.append((minute * 60, 108_000, 108_000, 108_000, 108_000, 0.0))
    return bi5_candles(rows)


def dukascopy(asked: Asked) -> Reply:
    """Answer as the data feed does, for any pair: minute files by the day, ticks by the hour."""
    _, _, year, month, day, file = asked.path.split("/")
    at = datetime(int(year), int(month) + 1, int(day), tzinfo=UTC)
    if file.endswith("_candles_min_1.bi5"):
        return Reply(body=minute_file(at, file[:3]))
    at += timedelta(hours=int(file[:2]))
    ticks = []
    for second in range(0, 3600, 20):
        bid = points(at) + second % 13
        ticks.append((second * 1000 + 250, bid, bid + 6))
    return Reply(body=bi5_ticks(ticks)) if new_york_open(at) else Reply(404)


def missing_file(*names: str) -> Callable[[Asked], Reply]:
    """Answer like `dukascopy`, but 404 for paths that hold one of `names`."""
    return lambda asked: Reply(404) if any(name in asked.path for name in names) else dukascopy(asked)


# Tiingo and Alpha Vantage


def bars(start: datetime, end: datetime, minutes: int) -> list[Bar]:
    """Return the market-hour bars that open in [start, end) with prices of five decimals."""
    out, at = [], start
    while at < end:
        if new_york_open(at):
            price = points(at) / 1e5
            out.append((at, price, round(price + 9e-5, 5), round(price - 7e-5, 5), round(price + 3e-5, 5)))
        at += timedelta(minutes=minutes)
    return out


def tiingo_rows(found: Iterable[Bar], pair: str = "eurusd") -> list[dict[str, Any]]:
    """Return bars as Tiingo's rows."""
    return [
        {"date": f"{at:%Y-%m-%dT%H:%M:%S}.000Z", "ticker": pair, "open": o, "high": h, "low": low, "close": c}
        for at, o, h, low, c in found
    ]


_TIINGO = {"1min": 1, "5min": 5, "15min": 15, "30min": 30, "1hour": 60}


def tiingo(now: datetime, end_included: bool = True) -> Callable[[Asked], Reply]:
    """Answer as Tiingo does at `now`: whole days, the running bar included."""

    def respond(asked: Asked) -> Reply:
        if asked.headers.get("Authorization") != "Token secret-key":
            return Reply(401, b'{"detail": "Invalid token."}')
        start = datetime.fromisoformat(asked.parameters["startDate"]).replace(tzinfo=UTC)
        end = datetime.fromisoformat(asked.parameters["endDate"]).replace(tzinfo=UTC)
        until = min(end + timedelta(days=1 if end_included else 0), now)
        found = bars(start, until, _TIINGO[asked.parameters["resampleFreq"]])
        return Reply(body=json.dumps(tiingo_rows(found)).encode())

    return respond


def alpha_body(found: Iterable[Bar], interval: str = "5min", zone: str = "UTC") -> bytes:
    """Return bars as Alpha Vantage's JSON: strings, newest first."""
    series = {
        f"{at:%Y-%m-%d %H:%M:%S}": {"1. open": f"{o:.5f}", "2. high": f"{h:.5f}", "3. low": f"{low:.5f}",
                                    "4. close": f"{c:.5f}"}
        for at, o, h, low, c in sorted(found, reverse=True)
    }  # fmt: skip
    meta = {
        "1. Information": f"FX Intraday ({interval}) Time Series", "2. From Symbol": "EUR", "3. To Symbol": "USD",
        "4. Last Refreshed": next(iter(series), ""), "5. Interval": interval, "6. Output Size": "Full size",
        "7. Time Zone": zone,
    }  # fmt: skip
    return json.dumps({"Meta Data": meta, f"Time Series FX ({interval})": series}, indent=4).encode()


_ALPHA = {"1min": 1, "5min": 5, "15min": 15, "30min": 30, "60min": 60}


def alpha_vantage(now: datetime, honours_month: bool = True) -> Callable[[Asked], Reply]:
    """Answer as Alpha Vantage does at `now`; without `honours_month` always the last 30 days."""

    def respond(asked: Asked) -> Reply:
        if asked.parameters.get("apikey") != "secret-key":
            return Reply(body=json.dumps({"Error Message": "the parameter apikey is invalid or missing."}).encode())
        interval = asked.parameters["interval"]
        start = datetime.fromisoformat(asked.parameters["month"] + "-01").replace(tzinfo=UTC)
        end = (start + timedelta(days=32)).replace(day=1)
        if not honours_month:
            start, end = (now - timedelta(days=30)).replace(hour=0, minute=0, second=0), now
        return Reply(body=alpha_body(bars(start, min(end, now), _ALPHA[interval]), interval))

    return respond
