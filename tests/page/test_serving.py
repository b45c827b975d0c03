"""The live page: for this machine alone, only to be read, whatever is asked."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from batten.cli.main import main
from batten.page.serving import LivePages, PageServer

KEYS = ["a", "b", "c"]


@pytest.fixture
def server(work: Any) -> Iterator[PageServer]:
    """One that serves `out`."""
    work(KEYS, failing={"b": "ValueError: <b>"})
    with PageServer(LivePages(["out"])) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: PageServer, method: str = "GET", path: str = "/", **headers: str
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        if value:
            connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    told = answer.status, dict(answer.getheaders()), answer.read().decode()
    connection.close()
    return told


def test_the_page_and_its_headers(server: PageServer) -> None:
    status, headers, body = ask(server)
    assert status == 200
    assert "COMPLETE · out" in body
    assert '<meta http-equiv="refresh"' in body
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    status, headers, still = ask(server, path="/still")
    assert (status, 'http-equiv="refresh"' in still) == (200, False)
    status, headers, nothing = ask(server, "HEAD")
    assert (status, nothing) == (200, "")
    assert int(headers["Content-Length"]) == len(body.encode())


@pytest.mark.parametrize(
    "host",
    [
        *("example.com", "example.com:80", "127.0.0.1.example.com", "", "169.254.0.1", "0.0.0.0"),
        *("localhost.example.com:8000", "[::1].example.com", "127.0.0.1@example.com"),
    ],
)
def test_who_asks_by_another_name_gets_nothing(server: PageServer, host: str) -> None:
    status, _, body = ask(server, Host=host)
    assert status in (400, 421)
    assert "out" not in body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:80"])
def test_names_of_this_machine(server: PageServer, host: str) -> None:
    assert ask(server, Host=host)[0] == 200


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "MKCOL"]
)
def test_nothing_but_reading(server: PageServer, method: str) -> None:
    status, headers, body = ask(server, method)
    assert (status, headers["Allow"], body) == (405, "GET, HEAD", "")


@pytest.mark.parametrize("path", ["/../etc/passwd", "/out", "/%2e%2e/", "//x/y", "/favicon.ico"])
def test_there_is_one_page(server: PageServer, path: str) -> None:
    assert ask(server, path=path)[0] == 404


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00\xff" * 10_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET http://[x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=range(9),
)
def test_what_is_no_request_harms_nobody(server: PageServer, sent: bytes) -> None:
    with socket.create_connection(server.server_address, timeout=60) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        pieces = iter(lambda: client.recv(65536), b"")
        with suppress(ConnectionResetError):
            answer = b"".join(pieces)
    assert b"COMPLETE" not in answer
    assert b"Traceback" not in answer
    assert ask(server)[0] == 200


def test_it_shows_what_is_there_now(server: PageServer, work: Any) -> None:
    assert "COMPLETE · out" in ask(server)[2]
    server.pages.forget()
    Path("out/part-000000.parquet").write_bytes(b"damaged")
    assert "COMPLETE · out" not in ask(server)[2]
    server.pages.forget()
    for path in (*Path("out").iterdir(),):
        path.unlink()
    assert ask(server)[0] == 200


def test_a_pattern_that_finds_nothing_any_more_is_said(tmp_path: Path, work: Any) -> None:
    work(KEYS)
    pages = LivePages(["o*"])
    assert "1 COMPLETE" in pages.get(is_still=True).decode()
    Path("out").rename("away")
    Path("out.batten").rename("away.batten")
    pages.forget()
    assert "Nothing is found" in pages.get(is_still=True).decode()


def test_the_command_ends_at_ctrl_c(work: Any, tmp_path: Path) -> None:
    work(KEYS)
    process = subprocess.Popen(
        [sys.executable, "-m", "batten", "serve", "out", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    found = re.match(r"http://127\.0\.0\.1:(\d+)/ ", process.stdout.readline())
    assert found is not None
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    assert main(["serve", "out", "--port", found[1]]) == 7
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("words", [["/"], ["none-*"], ["out", "--port", "70000"]])
def test_what_can_not_be_served_is_told_before(words: list[str], work: Any) -> None:
    work(KEYS)
    assert main(["serve", *words]) == 2


JOB = """
    def work(number):
        if number == 5:
            open("gate").read()
        return {"number": number}

    pipeline = batten.from_range(8).map(work).options(batch_size=4).write_parquet("out")
"""


def test_a_run_at_work(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(job.path)
    job.write(JOB)
    os.mkfifo("gate")
    process = subprocess.Popen(
        [sys.executable, "-m", "batten", "run", "job.py", "--jobs", "1", "--quiet"]
    )
    # It can be opened when the function opens its other end.
    gate = os.open("gate", os.O_WRONLY)
    pages = LivePages(["out"])
    first = pages.get(is_still=False).decode()
    pages.forget()
    second = pages.get(is_still=False).decode()
    os.close(gate)
    assert process.wait(timeout=60) == 0
    for page in (first, second):
        assert "<title>RUNNING · out</title>" in page
        assert "Items in hand" in page
    assert "not known yet" in first
    assert re.search(r"\d items/s", second)
    pages.forget()
    assert "<title>COMPLETE · out</title>" in pages.get(is_still=False).decode()
