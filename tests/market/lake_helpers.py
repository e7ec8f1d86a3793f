"""Where lakes may lie, for tests: a folder, memory, an S3 server in this process, and a poor file system."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from fxgpt_core.market.lake import Lake

BUCKET = "bars"


class PlainFileSystem(LocalFileSystem):  # type: ignore[misc]
    """A file system with nothing but exclusive creation, as many of fsspec's are."""

    protocol = "plain"


class HeedlessFileSystem(PlainFileSystem):
    """One that overwrites although it was asked to create."""

    protocol = "heedless"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        super().pipe_file(path, value)


@contextmanager
def s3_server() -> Iterator[str]:
    """Serve S3 on a free local port and point AWS_* at it; yields the URL of an empty bucket.

    Moto looks at a condition and then writes, in threads: one request at a time makes it as atomic as S3 is.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    inner, one = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with one:
            return list(inner(environ, start))

    server = make_server("127.0.0.1", 0, app, True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    named = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "not-to-be-shown",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in named}
    os.environ.update(named)
    try:
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        with suppress(FileExistsError):  # moto remembers as long as its process lives
            s3fs.S3FileSystem().mkdir(BUCKET)
        yield f"s3://{BUCKET}"
    finally:
        server.shutdown()
        thread.join()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def new_url(kind: str, folder: Any) -> str:
    """Return a place for a lake of its own: "folder", "memory", "s3" (while `s3_server` runs) or "plain"."""
    unique = uuid.uuid4().hex
    return {
        "folder": f"{folder}/lake",
        "memory": f"memory://{unique}/lake",
        "s3": f"s3://{BUCKET}/{unique}/lake",
        "plain": f"plain://{folder}/lake",
        "heedless": f"heedless://{folder}/lake",
    }[kind]


def table(values: dict[int, float | None]) -> pa.Table:
    """Return hours since 1970 and their closes as a table."""
    stamps = [datetime.fromtimestamp(3600 * hour, UTC) for hour in values]
    return pa.table(
        {
            "ts_utc": pa.array(stamps, pa.timestamp("us", tz="UTC")),
            "close": pa.array(list(values.values()), pa.float64()),
        }
    )


def values(lake: Lake, keys: dict[str, str], parts: list[str] | None = None) -> dict[int, float | None]:
    """Return what `table` was made of."""
    rows = lake.read("candles", keys, parts).to_pylist()
    return {int(row["ts_utc"].timestamp()) // 3600: row["close"] for row in rows}
