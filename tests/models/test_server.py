"""A model server that a run starts, waits for, starts again, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.crashlab.servers.ports import find_ports
from batten.errors import UsageError
from batten.executors.call_rates import Limiter, Limits
from batten.work.own_workers.server import is_taken, read_waiting

END_SECONDS_MAX = 60.0

SERVER = """
import asyncio, json, os, sys

port, dies_at, loads = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
requests = looks = 0

async def serve(reader, writer):
    global requests, looks
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode()
            path, status, body = head.split()[1], "200 OK", b"ok"
            if path == "/health":
                looks += 1
                status = "503 Loading" if looks <= loads else status
            elif path == "/metrics":
                body = b'vllm:num_requests_waiting{engine="0"} 0.0\\n'
            else:
                requests += 1
                if requests == dies_at and not os.path.exists("died"):
                    KEEPS
                    os._exit(3)
                await asyncio.sleep(0.01)
                body = json.dumps({"text": path}).encode()
            writer.write(b"HTTP/1.1 %s\\r\\ncontent-length: %d\\r\\n\\r\\n" % (
                status.encode(), len(body)) + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    open(f"started-{os.getpid()}", "w").close()
    server = await asyncio.start_server(serve, "127.0.0.1", port, reuse_address=True)
    await server.serve_forever()

asyncio.run(main())
"""

JOB = """
import asyncio, os, sys

server = batten.ModelServer(
    command=[sys.executable, "server.py", "PORT", *"ARGUMENTS".split()],
    url="http://127.0.0.1:PORT", OPTIONS
)

async def ask(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    try:
        writer.write(b"GET /%d HTTP/1.1\\r\\n\\r\\n" % number)
        answer = await reader.read(4096)
        if not answer:
            raise ConnectionResetError("no answer")
        return {"answer": answer.split(b"\\r\\n\\r\\n")[1].decode()}
    finally:
        writer.close()

pipeline = batten.from_range(60).map(ask, concurrency=4, server=server).write_parquet("out/")
"""


@pytest.fixture
def port() -> int:
    return find_ports(1)[0]


def write(job: Any, port: int, arguments: str, options: str = "", keeps: str = "") -> Any:
    mark = keeps or 'open("died", "w").close()'
    (job.path / "server.py").write_text(SERVER.replace("KEEPS", mark))
    text = JOB.replace("PORT", str(port)).replace("ARGUMENTS", arguments)
    return job.write(text.replace("OPTIONS", options))


def find_server(folder: Path) -> list[int]:
    """The servers of the folder that live."""
    pids = [int(path.name.partition("-")[2]) for path in folder.glob("started-*")]
    return [pid for pid in pids if is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        return b"server.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def await_end_of_server(folder: Path) -> None:
    until = time.monotonic() + END_SECONDS_MAX
    while find_server(folder) and time.monotonic() < until:
        time.sleep(0.05)
    assert not find_server(folder)


def test_calls_wait_until_it_is_ready_and_it_ends_with_the_run(job: Any, port: int) -> None:
    done = write(job, port, "0 3").run()
    assert done.code == 0, done.err
    assert [row["answer"] for row in job.rows()] == [f'{{"text": "/{n}"}}' for n in range(60)]
    assert len(list(job.path.glob("started-*"))) == 1
    assert not find_server(job.path)


def test_it_is_started_again_and_no_item_is_blamed(job: Any, port: int) -> None:
    done = write(job, port, "20 1").run()
    assert done.code == 0, done.err
    assert len(job.rows()) == 60
    assert len(list(job.path.glob("started-*"))) == 2


def test_what_it_leaves_does_not_stand_in_the_way_of_the_next(job: Any, port: int) -> None:
    keeps = 'open("died", "w").close(); os.fork() and os._exit(3); __import__("time").sleep(600)'
    done = write(job, port, "20 1", keeps=keeps).run()
    assert done.code == 0, done.err
    assert len(job.rows()) == 60
    assert len(list(job.path.glob("started-*"))) == 2


def test_one_that_ends_again_and_again_is_the_jobs_failure(job: Any, port: int) -> None:
    done = write(job, port, "5 0", "restarts_max=1", keeps="pass").run()
    assert done.code == 1, done.err
    assert "was started 2 times" in done.err
    assert "ended with status 3" in done.err
    assert not (job.path / "out.batten" / "quarantine").exists() or not job.quarantined()
    assert not find_server(job.path)


def test_one_that_cannot_be_started_is_the_jobs_failure(job: Any, port: int) -> None:
    write(job, port, "0 0", "restarts_max=0")
    text = (job.path / "job.py").read_text().replace("[sys.executable,", '["no-such-server",')
    (job.path / "job.py").write_text(text)
    done = job.run()
    assert done.code == 1, done.err
    assert "no-such-server" in done.err


def test_nothing_is_asked_of_another_server_that_has_its_address(job: Any, port: int) -> None:
    write(job, port, "0 0", "ready_seconds_max=1")
    other = subprocess.Popen([sys.executable, "server.py", str(port), "0", "0"], cwd=job.path)
    try:
        until = time.monotonic() + END_SECONDS_MAX
        while not is_taken(f"http://127.0.0.1:{port}") and time.monotonic() < until:
            time.sleep(0.05)
        done = job.run()
        assert done.code == 1, done.err
        assert "Another server answers" in done.err
        assert len(list(job.path.glob("started-*"))) == 1
    finally:
        other.kill()
        other.wait()
    assert job.run().code == 0
    assert len(job.rows()) == 60


def test_one_that_is_never_ready_is_the_jobs_failure(job: Any, port: int) -> None:
    done = write(job, port, "0 1000000", "ready_seconds_max=1").run()
    assert done.code == 1, done.err
    assert "was not ready" in done.err


def test_nothing_of_it_outlives_a_killed_run(job: Any, port: int) -> None:
    write(job, port, "0 1000000")
    process = subprocess.Popen(
        [sys.executable, "-m", "batten", "run", "job.py", "--quiet"],
        cwd=job.path,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + END_SECONDS_MAX
    while not find_server(job.path) and time.monotonic() < until:
        time.sleep(0.05)
    assert find_server(job.path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    await_end_of_server(job.path)


@pytest.mark.parametrize(
    ("metrics", "waiting"),
    [
        (b'vllm:num_requests_waiting{model_name="a"} 3.0\n', 3),
        (b'vllm:num_requests_waiting{e="0"} 3.0\nvllm:num_requests_waiting{e="1"} 4\n', 7),
        (b"# HELP x\nllamacpp:requests_deferred 2\n", 2),
        (b"vllm:num_requests_running 9\n", None),
        (b"vllm:num_requests_waiting e+e\n", None),
        (b"vllm:num_requests_waiting 1e999\n", None),
        (b"\xff\x00", None),
    ],
)
def test_what_the_server_says_of_its_queue(metrics: bytes, waiting: int | None) -> None:
    assert read_waiting(metrics) == waiting


def test_no_more_calls_are_in_flight_than_the_server_works_on() -> None:
    limiter = Limiter(Limits(), 100)
    passes = [limiter.begin("", 0, 0.0) for _ in range(40)]
    limiter.heed(30)
    assert limiter.concurrency("") == 10
    limiter.heed(0)
    for passed in passes:
        limiter.end(passed, None, 1.0)
    assert 10 < limiter.concurrency("") <= 100
    limiter.heed(1000)
    assert limiter.concurrency("") == 1


def test_what_is_no_server_is_refused() -> None:
    async def ask(number: int) -> None: ...

    for wrong in ({"command": "", "url": "http://a"}, {"command": "a", "url": "127.0.0.1:1"}):
        with pytest.raises(UsageError, match="ModelServer"):
            batten.ModelServer(**wrong)  # type: ignore[arg-type]
    server = batten.ModelServer(command="vllm serve m", url="http://127.0.0.1:1")
    assert server.words == ("vllm", "serve", "m")
    with pytest.raises(UsageError, match="async def"):
        batten.from_range(1).map(str, server=server)
    with pytest.raises(UsageError, match="server is"):
        batten.from_range(1).map(ask, server="vllm")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        {"command": 'serve "model'},
        {"command": None},
        {"command": [1]},
        {"url": 8000},
        {"url": "http://"},
        {"url": "http://127.0.0.1:99999"},
        {"url": "http://127.0.0.1:0"},
        {"url": "http://127.0.0.1:8000/v1"},
        {"url": "http://me:word@127.0.0.1:8000"},
        {"ready_seconds_max": "long"},
        {"ready_seconds_max": float("nan")},
        {"restarts_max": 1.5},
        {"restarts_max": None},
    ],
)
def test_what_makes_no_sense_is_refused_in_words(given: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"command": ["serve"], "url": "http://127.0.0.1:1"}
    with pytest.raises(UsageError, match="ModelServer: "):
        batten.ModelServer(**{**usual, **given})
