"""An endpoint that answers over real HTTP, as slowly and badly as a test wants, and jobs that
call it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

BATTEN = str(Path(sys.executable).with_name("batten"))
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the endpoint answers; without a status it drops the connection."""

    status: int | None = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Endpoint:
    """`/7` is a call for item 7. `behave` says what becomes of a call, from the item and how often
    it was called; it may await what other calls bring about. Conditions are awaited in its loop by
    `until`, and from the test by `wait_until`."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        self.answered: Counter[int] = Counter()
        self.in_flight = 0
        self.in_flight_max = 0
        self.is_released = False
        self.behave: Callable[[int, int], Awaitable[Reply]] = self.answer_at_once
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._loop_changed = asyncio.Condition()
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1000)
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    async def answer_at_once(self, item: int, times: int) -> Reply:
        return self.answer(item)

    def answer(self, item: int) -> Reply:
        return Reply(body=json.dumps({"answer": item * item}))

    def reply(self, **fields: Any) -> Reply:
        return Reply(**fields)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self._loop_changed:
            await self._loop_changed.wait_for(condition)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_SECONDS), vars(self)

    def release(self) -> None:
        """What waits for `is_released` goes on."""
        self.is_released = True
        asyncio.run_coroutine_threadsafe(self._tell(), self._loop).result()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        while calls := asyncio.all_tasks() - {asyncio.current_task()}:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            await asyncio.sleep(0)  # connections that were accepted just before begin now

    async def _tell(self) -> None:
        async with self._loop_changed:
            self._loop_changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                reply = await self._reply(int(head.split()[1].lstrip("/")))
                if reply.status is None:
                    break
                headers = {**reply.headers, "content-length": str(len(reply.body.encode()))}
                lines = [f"HTTP/1.1 {reply.status} {reply.status}"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                writer.write("\r\n".join([*lines, "", reply.body]).encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _reply(self, item: int) -> Reply:
        self.calls[item] += 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await self._tell()
            reply = await self.behave(item, self.calls[item])
        finally:
            self.in_flight -= 1
        self.answered[item] += 1
        await self._tell()
        return reply


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


ASK = """
import os
import batten
import httpx

class Ask:
    def __init__(self):
        self.client = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None))

    async def __call__(self, item):
        reply = await self.client.get(f"http://127.0.0.1:{os.environ['PORT']}/{item}")
        reply.raise_for_status()
        return reply.json()
"""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.stdout)
        return told


class Folder:
    """A folder with a job in it, which asks the endpoint; its output is `out`."""

    def __init__(self, path: Path, endpoint: Endpoint) -> None:
        self.path = path
        self._environment = {**os.environ, "PORT": str(endpoint.port)}
        self._runs: list[subprocess.Popen[str]] = []

    def write_job(self, text: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "job.py").write_text(ASK + textwrap.dedent(text))

    @property
    def command(self) -> list[str]:
        return [BATTEN, "run", "job.py", "--quiet", "--json"]

    @property
    def environment(self) -> dict[str, str]:
        return self._environment

    def start(self) -> subprocess.Popen[str]:
        run = subprocess.Popen(
            self.command,
            cwd=self.path,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._runs.append(run)
        return run

    def finish(self, run: subprocess.Popen[str]) -> Ended:
        stdout, stderr = run.communicate(timeout=PATIENCE_SECONDS)
        return Ended(exit_code=run.returncode, stdout=stdout, stderr=stderr)

    def run(self) -> Ended:
        return self.finish(self.start())

    def end(self) -> None:
        for run in self._runs:
            if run.poll() is None:
                run.send_signal(signal.SIGKILL)
            run.communicate()

    @property
    def parts(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.path / "out").iterdir())}

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for name in self.parts:
            rows += pq.read_table(self.path / "out" / name, use_threads=False).to_pylist()
        return rows

    def quarantined(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for path in sorted((self.path / "out.batten" / "quarantine").iterdir()):
            rows += pq.read_table(path, use_threads=False).to_pylist()
        return rows


@pytest.fixture
def make_folder(tmp_path: Path, endpoint: Endpoint) -> Iterator[Callable[[str], Folder]]:
    made: list[Folder] = []

    def make(name: str) -> Folder:
        made.append(Folder(tmp_path / name, endpoint))
        return made[-1]

    yield make
    for folder in made:
        folder.end()


@pytest.fixture
def folder(make_folder: Callable[[str], Folder]) -> Folder:
    return make_folder("folder")
