"""Storage: replaced whole, changed without losing another's change, locked by leases that soon follow their holder."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from filelock import FileLock
from lake_helpers import BUCKET, HeedlessFileSystem, PlainFileSystem, new_url, s3_server

from fxgpt_core.common.errors import StoreError
from fxgpt_core.store.documents import Documents
from fxgpt_core.store.lease import Lease
from fxgpt_core.store.object_storage import ObjectStorage
from fxgpt_core.store.objects import Conflict, MemoryObjects
from fxgpt_core.store.paths import Home
from fxgpt_core.store.storage import LocalStorage, Source, open_storage


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    fsspec.register_implementation("plain", PlainFileSystem, clobber=True)
    fsspec.register_implementation("heedless", HeedlessFileSystem, clobber=True)
    with s3_server() as url:
        yield url


@pytest.fixture(params=["folder", "memory", "s3", "plain"])
def url(request: pytest.FixtureRequest, server: str, tmp_path: Path) -> str:
    return new_url(request.param, tmp_path)


@pytest.fixture(params=["memory", "s3"])
def objects(request: pytest.FixtureRequest, server: str, tmp_path: Path) -> tuple[Any, str]:
    storage = open_storage(new_url(request.param, tmp_path), 5, {})
    assert isinstance(storage, ObjectStorage)
    return storage._objects, storage._path(".locks/all.lock")


def _content(source: Source | None) -> bytes | None:
    return source.read_bytes() if isinstance(source, Path) else None if source is None else source.read()


def test_files_are_written_listed_and_removed(url: str) -> None:
    storage = open_storage(url, 5, {})
    assert (storage.names("a"), storage.children("a"), storage.exists("a/x=1/f")) == ([], [], False)
    with pytest.raises(FileNotFoundError):
        storage.read("a/x=1/f")
    storage.write("a/x=1/f", b"1")
    storage.write("a/x=2/f", b"2")
    storage.write("ab/f", b"3")
    assert storage.names("a") == ["a/x=1/f", "a/x=2/f"]
    assert storage.names("") == ["a/x=1/f", "a/x=2/f", "ab/f"]
    assert storage.children("a") == ["x=1", "x=2"]
    assert storage.children("") == ["a", "ab"]
    assert (storage.read("a/x=1/f"), _content(storage.source("a/x=1/f"))) == (b"1", b"1")
    storage.remove("a/x=1/f")
    storage.remove("a/x=1/f")
    assert storage.names("a") == ["a/x=2/f"]
    assert not storage.exists("a/x=1/f")


def test_a_change_sees_the_content_and_may_leave_it(url: str) -> None:
    storage, seen = open_storage(url, 5, {}), []

    def change(source: Source | None) -> bytes | None:
        seen.append(_content(source))
        return b"new" if seen[-1] is None else None

    storage.update("a/f", change)
    storage.update("a/f", change)
    assert (seen, storage.read("a/f")) == ([None, b"new"], b"new")


def test_versions_change_with_the_content(url: str) -> None:
    storage = open_storage(url, 5, {})
    storage.write("a/f", b"1")
    first = storage.versions("a")
    storage.write("a/f", b"2")
    second = storage.versions("a")
    assert list(first) == list(second) == ["a/f"]
    assert first["a/f"] != second["a/f"] or url.startswith("plain")  # which then caches nothing


def test_a_put_that_loses_reads_again_and_merges(objects: tuple[Any, str]) -> None:
    storage = ObjectStorage(objects[0], "x://lake", objects[1].rsplit("/", 2)[0], timeout=5)
    storage.write("a/f", b"1")
    seen = []

    def change(source: Source | None) -> bytes:
        seen.append(_content(source))
        if len(seen) == 1:
            storage.write("a/f", b"another writer's")
        return (seen[-1] or b"") + b" and mine"

    storage.update("a/f", change)
    assert (seen, storage.read("a/f")) == ([b"1", b"another writer's"], b"another writer's and mine")


def test_creating_loses_to_who_created_first_and_removal_is_noticed(objects: tuple[Any, str]) -> None:
    store, path = objects
    version = store.create(path, b"1")
    with pytest.raises(Conflict):
        store.create(path, b"2")
    with pytest.raises(Conflict):
        store.replace(path, b"2", '"another"')
    assert store.get(path) == (b"1", version)
    store.remove(path)
    with pytest.raises(Conflict):
        store.replace(path, b"2", version)


def test_who_always_loses_says_so_in_the_end(server: str) -> None:
    storage = open_storage(new_url("memory", ""), 0.2, {})
    count = iter(range(10_000))

    def change(_: Source | None) -> bytes:
        storage.write("a/f", b"%d" % next(count))
        return b"mine"

    with pytest.raises(StoreError, match=r"kept changing .*run the same command again"):
        storage.update("a/f", change)


def test_a_lease_is_renewed_while_it_is_held(objects: tuple[Any, str]) -> None:
    store, path = objects
    lease, other = Lease(store, path, seconds=1), Lease(store, path, seconds=1)
    lease.acquire(1)
    with pytest.raises(StoreError, match="another process is writing"):
        other.acquire(3)  # three times as long as a renewal lasts
    lease.check()
    lease.release()
    again = Lease(store, path, seconds=0.4)
    again.acquire(0.3)
    again.release()


def test_a_dead_holders_lease_is_taken_over_and_the_holder_knows(objects: tuple[Any, str]) -> None:
    store, path = objects
    lease, heir = Lease(store, path, seconds=0.4), Lease(store, path, seconds=0.4)
    lease.acquire(1)
    lease._released.set()  # its renewals end, as when its process is stopped
    started = time.monotonic()
    heir.acquire(30)
    assert time.monotonic() - started > 0.35
    with pytest.raises(StoreError, match="may be another's by now"):
        lease.check()
    lease.release()  # late, and not its own any more
    with pytest.raises(StoreError, match="another process"):
        Lease(store, path, seconds=0.4).acquire(0.1)
    heir.check()
    heir.release()


def test_two_heirs_of_one_lease_are_not_both_let_in(objects: tuple[Any, str]) -> None:
    store, path = objects
    dead = Lease(store, path, seconds=0.3)
    dead.acquire(1)
    dead._released.set()
    inside, worst = [], []

    def inherit() -> None:
        lease = Lease(store, path, seconds=5)
        lease.acquire(20)
        inside.append(lease)
        worst.append(len(inside))
        time.sleep(0.05)
        inside.remove(lease)
        lease.release()

    heirs = [threading.Thread(target=inherit) for _ in range(4)]
    for heir in heirs:
        heir.start()
    for heir in heirs:
        heir.join()
    assert worst == [1, 1, 1, 1]


class _Cut(MemoryObjects):
    """Memory whose connection can be cut for conditional replacement, as renewals are."""

    cut = False

    def replace(self, path: str, content: bytes, version: str) -> str:
        if self.cut:
            raise OSError("no route")
        return super().replace(path, content, version)


def test_nothing_is_written_under_a_lock_that_ran_out() -> None:
    store = _Cut(fsspec.filesystem("memory"))
    storage = ObjectStorage(store, "memory://cut", "/cut", timeout=5, lease_seconds=0.5)
    with storage.lock("a/all"):
        storage.write("a/f", b"1")
        store.cut = True
        time.sleep(0.7)
        with pytest.raises(StoreError, match="run the same command again"):
            storage.write("a/f", b"2")
        with pytest.raises(StoreError):
            storage.update("a/f", lambda _: b"3")
        storage.write("b/f", b"not below that lock")
        store.cut = False
    assert storage.read("a/f") == b"1"


def test_a_renewal_whose_answer_was_lost_keeps_the_lease(objects: tuple[Any, str]) -> None:
    store, path = objects
    lease = Lease(store, path, seconds=5)
    lease.acquire(1)
    lease._version = '"as before the answer that was lost"'
    lease._renew()
    lease.check()
    lease.release()
    again = Lease(store, path)
    again.acquire(0.2)
    again.release()


def test_a_lock_that_the_store_cannot_free_is_broken_when_asked(server: str, tmp_path: Path) -> None:
    storage = open_storage(new_url("plain", tmp_path), 0.1, {})
    assert isinstance(storage, ObjectStorage)
    storage._objects.create(storage._path(".locks/a/all.lock"), b'{"owner": "dead"}')
    with pytest.raises(StoreError, match="--break-locks"), storage.lock("a/all"):
        pass
    assert storage.sweep().locks == 0
    assert storage.sweep(break_locks=True).locks == 1
    with storage.lock("a/all"):
        pass


def test_a_store_that_overwrites_what_it_must_not_is_refused(server: str, tmp_path: Path) -> None:
    storage = open_storage(new_url("heedless", tmp_path), 0.1, {})
    with pytest.raises(StoreError, match="overwrites objects that it was asked not to"):
        storage.update("a/f", lambda _: b"1")


def test_s3_that_is_not_installed_says_what_to_install() -> None:
    code = "import sys; sys.modules['s3fs'] = None; from fxgpt_core.market.lake import Lake; Lake('s3://bucket/lake')"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    assert said.rstrip().endswith("pip install 'fxgpt[s3]'.")


@pytest.mark.parametrize("url", ["nonsense://x/y", "ftp2://user:secret@host/x"])
def test_urls_that_nobody_knows_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(StoreError, match="cannot be opened") as error:
        open_storage(url, 1, {})
    assert "secret" not in str(error.value)


def test_a_missing_bucket_and_wrong_keys_are_named_and_no_secret_is(
    server: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "fxgpt_core")
    storage = open_storage("s3://no-such-bucket/lake", 1, {"secret": "another-secret", "key": "k"})
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/lake/a/f cannot be written"):
        storage.write("a/f", b"1")
    with pytest.raises(StoreError, match="cannot be written") as error:
        storage.update("a/f", lambda _: b"1")
    for said in (str(error.value), caplog.text, repr(storage)):
        assert "another-secret" not in said
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in said


def test_a_server_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    closed = {"endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"retries": {"max_attempts": 0}}}
    storage = open_storage(f"s3://{BUCKET}/lake", 1, closed)
    with pytest.raises(StoreError, match="cannot be read"):
        storage.read("a/f")


def test_leftovers_go_and_what_a_living_writer_holds_stays(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path, 1)
    storage.write("a/f", b"1")
    dead, living, foreign = tmp_path / "a/.f.tmp", tmp_path / "b/.g.tmp", tmp_path / "a/.gitignore"
    for path in (dead, living, foreign):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    (tmp_path / ".locks/b").mkdir()
    with FileLock(tmp_path / ".locks/b/g.lock"):
        swept = storage.sweep()
        assert (swept.leftovers, swept.locks) == (("a/.f.tmp",), 1)
        assert living.exists()
        assert foreign.exists()
        assert [path.name for path in (tmp_path / ".locks").rglob("*.lock")] == ["g.lock"]
    assert storage.sweep().leftovers == ("b/.g.tmp",)
    assert storage.read("a/f") == b"1"


_COUNTING = """
import sys
from pathlib import Path
from fxgpt_core.store.storage import LocalStorage
storage = LocalStorage(Path(sys.argv[1]), 60)
for _ in range(150):
    storage.update("a/f", lambda source: b"%d" % (int(source.read_bytes()) + 1 if source else 1))
"""


def test_sweeping_locks_beside_writers_loses_no_change(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _COUNTING, str(tmp_path)]) for _ in range(2)]
    storage = LocalStorage(tmp_path, 60)
    while any(writer.poll() is None for writer in writers):
        storage.sweep()
    assert [writer.wait() for writer in writers] == [0, 0]
    assert storage.read("a/f") == b"300"


def test_documents_lie_wherever_a_lake_may(url: str) -> None:
    documents = Documents(url)
    assert (documents.find("verdict", "EURUSD"), documents.exists("verdict", "EURUSD")) == (None, False)
    with pytest.raises(StoreError, match="No verdict for EURUSD yet"):
        documents.read("verdict", "EURUSD")
    documents.write("verdict", "EURUSD", {"drift": True}, "f1")
    again = Documents(url)
    assert again.exists("verdict", "EURUSD")
    assert (again.read("verdict", "EURUSD"), again.fingerprint("verdict", "EURUSD")) == ({"drift": True}, "f1")


@pytest.mark.parametrize("named", [None, "elsewhere/lake", "s3://bucket/lake"])
def test_the_lake_may_lie_outside_its_home(named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FXGPT_LAKE", raising=False)
    if named:
        monkeypatch.setenv("FXGPT_LAKE", named)
    home = Home(tmp_path / "home").create()
    expected = {None: tmp_path / "home/lake", "elsewhere/lake": tmp_path / "elsewhere/lake"}
    assert home.lake == expected.get(named, named)
    assert isinstance(home.lake, str) or home.lake.is_dir()
    assert not (tmp_path / "s3:").exists()
