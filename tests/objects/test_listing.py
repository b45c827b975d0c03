"""A bucket is listed by pages, whatever lies in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from batten.crashlab.servers.object_relay import ObjectRelay
from batten.crashlab.servers.object_server import ObjectStoreServer
from batten.errors import StorageError
from batten.sources.files.object_files import ObjectFileSource
from batten.storage.listing import list_names_after
from batten.storage.objects import store as bucket_store
from batten.storage.objects.store import BucketStore
from batten.storage.twin.fates import Fate

MANY = 1_100


def fill(prefix: str, names: list[str]) -> BucketStore:
    store = BucketStore(prefix, is_probed=True)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: store.put_new(name, b"x"), names))
    return store


def test_a_page_is_asked_for_when_the_one_before_was_read(
    prefix: str, objects: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"rows/part-{batch:06}.parquet" for batch in range(MANY)]
    fill(prefix, names)
    with ObjectRelay(objects.port, lambda request: Fate.DONE) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        found = BucketStore(prefix).list("rows")
        first = next(found)
        assert len(relay.requests) == 1
        assert sorted([first.name, *(entry.name for entry in found)]) == names
        assert len(relay.requests) == 2


def test_a_listing_begins_at_a_name(
    prefix: str, objects: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{batch:06}-{batch % 7:x}.json" for batch in range(MANY)]
    fill(prefix, [f"rows/{name}" for name in names])
    with ObjectRelay(objects.port, lambda request: Fate.DONE) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        found = list_names_after(BucketStore(prefix), "rows", "000200")
        assert sorted(found) == names[200:]
        assert len(relay.requests) == 1


@pytest.mark.parametrize("told_max", [0, 1, 2, 3, 1 << 17])
def test_folders_are_told_once_and_what_is_in_them_is_not(
    prefix: str, monkeypatch: pytest.MonkeyPatch, told_max: int
) -> None:
    monkeypatch.setattr(bucket_store, "_TOLD_MAX", told_max)
    store = fill(prefix, ["out/a", "out/b/1", "out/b/2/3", "out/c", "out/d/1", "out/e", "outer/x"])
    found = sorted((entry.name, entry.kind) for entry in store.list("out"))
    assert found == [
        ("out/a", "file"),
        ("out/b", "folder"),
        ("out/c", "file"),
        ("out/d", "folder"),
        ("out/e", "file"),
    ]
    assert list(store.list("none")) == []


PLACEHOLDERS = ["x/", "x/a", "x/b", "x/b/", "x/b/1", "x/c/", "x/d"]
"""As consoles make them: a slash at the end stands for a folder. "x/b" is an object, too."""


@pytest.fixture
def store_of_placeholders(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_HEAD(self) -> None:
            key = urlsplit(self.path).path.removeprefix("/bucket/")
            self.send_response_only(200 if key in PLACEHOLDERS else 404)
            for name, value in (("ETag", "1"), ("Last-Modified", _TIME), ("Content-Length", "1")):
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            prefix = asked.get("prefix", [""])[0]
            found = [key for key in PLACEHOLDERS if key.startswith(prefix)]
            rest = {key: key[len(prefix) :].partition("/") for key in found}
            told = "".join(
                _ENTRY.format(key).replace("<Size>1", f"<Size>{int(key[-1] != '/')}")
                for key in found
                if "delimiter" not in asked or not rest[key][1]
            )
            if "delimiter" in asked:
                for folder in dict.fromkeys(first for first, slash, _ in rest.values() if slash):
                    told += f"<CommonPrefixes><Prefix>{prefix}{folder}/</Prefix></CommonPrefixes>"
            body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{told}</ListBucketResult>"
            self.send_response_only(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.setenv(name, "any")
        yield "s3://bucket"
        server.shutdown()


@pytest.mark.parametrize("told_max", [0, 1, 2, 3, 1 << 17])
def test_what_stands_for_a_folder_hides_nothing_in_it(
    store_of_placeholders: str, monkeypatch: pytest.MonkeyPatch, told_max: int
) -> None:
    monkeypatch.setattr(bucket_store, "_TOLD_MAX", told_max)
    store = BucketStore(store_of_placeholders, is_probed=True)
    found = sorted((entry.name, entry.kind) for entry in store.list("x"))
    assert found == [
        ("x/a", "file"),
        ("x/b", "file"),
        ("x/b", "folder"),
        ("x/c", "folder"),
        ("x/d", "file"),
    ]
    pattern = f"{store_of_placeholders}/x/**/*"
    source = ObjectFileSource(pattern, folder=Path("/"))
    assert [key for block in source.scan() for key in block.keys or ()] == ["a", "b", "b/1", "d"]


_TIME = "Thu, 01 Jan 2026 00:00:00 GMT"
_ENTRY = (
    "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    "<ETag>1</ETag><Size>1</Size></Contents>"
)


@pytest.fixture
def odd_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One in which a name has an empty piece, which SeaweedFS would mend."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            told = "".join(map(_ENTRY.format, ["x/out/a", "x/out/b//c", "x/out/d"]))
            if "delimiter=" in self.path:
                told = "".join(map(_ENTRY.format, ["x/out/a", "x/out/d"]))
                told += "<CommonPrefixes><Prefix>x/out/b/</Prefix></CommonPrefixes>"
            end = "<IsTruncated>false</IsTruncated>"
            if "later" in self.path and "continuation-token" not in self.path:
                told = "".join(map(_ENTRY.format, ["x/later/a", "x/later/b"]))
                end = "<IsTruncated>true</IsTruncated>"
                end += "<NextContinuationToken>1</NextContinuationToken>"
            elif "later" in self.path:
                told = _ENTRY.format("x/later/c//d")
            body = f"<ListBucketResult>{end}{told}</ListBucketResult>"
            self.send_response_only(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "any")
    yield "s3://bucket/x"
    server.shutdown()
    server.server_close()
    thread.join()


def test_of_a_store_that_begins_nowhere_names_are_left_out(
    store_of_placeholders: str,
) -> None:
    found = list_names_after(BucketStore(store_of_placeholders), "x", "a")
    assert set(found) == {"b", "c", "d"}


@pytest.mark.parametrize("told_max", [0, 1, 2])
def test_nothing_is_told_twice_where_too_much_was_told(
    odd_store: str, monkeypatch: pytest.MonkeyPatch, told_max: int
) -> None:
    monkeypatch.setattr(bucket_store, "_TOLD_MAX", told_max)
    monkeypatch.setattr(bucket_store, "_PAGE", 1)
    found: list[str] = []
    with pytest.raises(StorageError, match="a//b"):
        found.extend(entry.name for entry in BucketStore(odd_store).list("later"))
    assert len(found) == len(set(found))


def test_a_name_with_an_empty_piece_below_hides_nothing(odd_store: str) -> None:
    assert set(list_names_after(BucketStore(odd_store), "out", "a")) == {"b", "d"}
    found = sorted((entry.name, entry.kind) for entry in BucketStore(odd_store).list("out"))
    assert found == [("out/a", "file"), ("out/b", "folder"), ("out/d", "file")]
