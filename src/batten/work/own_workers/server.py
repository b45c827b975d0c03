"""A model server of a run: a process under the nursery, and what it says of itself.

A call that fails while the server is down is no item's failure: it is made again when the server is
back (decision 0139). The driver starts it; a thread asks it how it is; calls in the event loop read
what was said.
"""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import threading
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

from batten.errors import FailedRunError
from batten.executors.answers import find_status, is_of_connection
from batten.executors.base import Executor, Finished
from batten.jobs.model_server import ModelServer

LOOK_SECONDS = 0.25
_ANSWER_SECONDS_MAX = 5.0
_ANSWER_BYTES_MAX = 1 << 20
_FREE_SECONDS_MAX = 5.0
_PORTS = {"http": 80, "https": 443}
_WAITING = re.compile(
    rb"^(?:vllm:num_requests_waiting|llamacpp:requests_deferred)(?:\{[^}\n]*\})?\s+([0-9.eE+]+)",
    re.MULTILINE,
)
_SAFE = "Everything that was finished is kept, and no item is blamed for it."


def keep_server(words: tuple[str, ...], mark: Any) -> int:
    """In a worker process: be the server's parent until it ends; its status. All that it started
    ends with this process, before another server is started."""
    try:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL).wait()
    finally:
        mark.retire()


def read_waiting(metrics: bytes) -> int | None:
    """How many requests wait in the server's queue; None if it does not tell."""
    found = _WAITING.findall(metrics)
    with suppress(ValueError, OverflowError):
        return int(sum(map(float, found))) if found else None
    return None


def await_free(url: str) -> bool:
    """Whether nobody listens at the address. One of a run that was killed may be about to end."""
    until = monotonic() + _FREE_SECONDS_MAX
    while is_taken(url):
        if monotonic() > until:
            return False
        sleep(0.05)
    return True


def is_taken(url: str) -> bool:
    """Whether somebody listens at the address now."""
    parts = urlsplit(url)
    port = parts.port or _PORTS[parts.scheme]
    try:
        with socket.create_connection((parts.hostname, port), _ANSWER_SECONDS_MAX) as connection:
            # A free port of this machine may be given to the very socket that looks for it.
            return bool(connection.getsockname() != connection.getpeername())
    except OSError:
        return False


class ServerState:
    """What is known of it. Written by the watching thread and the driver, read by the event loop:
    each field by itself."""

    def __init__(self) -> None:
        self.is_ready = False
        self.looks = 0
        self.downs = 0
        self.waiting: int | None = None

    def go_down(self) -> None:
        """It was seen to be down."""
        self.downs += 1
        self.is_ready = False

    async def wait_ready(self) -> int:
        """Until calls may go; how often it had been down by then."""
        while not self.is_ready:
            await asyncio.sleep(LOOK_SECONDS / 4)
        return self.downs

    async def was_down(self, error: BaseException, downs: int) -> bool:
        """Whether a call that failed so did since the server was down meanwhile, or is now."""
        status = find_status(error)
        if not is_of_connection(error) and (status is None or status < 500):
            return False
        # A look that had begun before the failure may have seen it well.
        enough = self.looks + 2
        while self.looks < enough and self.downs == downs:
            await asyncio.sleep(LOOK_SECONDS / 4)
        return self.downs != downs or not self.is_ready


class KeptServer:
    """The driver's side. `executor` has one worker process, whose work is `keep_server`."""

    def __init__(self, server: ModelServer) -> None:
        self.state = ServerState()
        self._server = server
        self._executor: Executor | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._ends = 0
        self._began = 0.0

    def start(self, executor: Executor) -> None:
        """Make ready to begin it, before there are threads."""
        self._executor = executor
        executor.start(keep_server)

    def begin(self) -> None:
        """Begin it, as soon as there is an item for it. It may be repeated. Raises `FailedRunError`
        where another server has its address."""
        if self._thread is None and self._executor is not None:
            self._submit(self._executor)
            self._thread = threading.Thread(target=self._watch, daemon=True, name="batten-server")
            self._thread.start()

    def look(self) -> None:
        """Start it again if it ended. Raises `FailedRunError` where that does not help."""
        if self._executor is None or self._thread is None:
            return
        for event in self._executor.wait(0):
            self.state.go_down()
            self._ends += 1
            cause = getattr(event, "cause", "") or str(getattr(event, "error", ""))
            if isinstance(event, Finished):
                cause = f"ended with status {event.value}"
            if self._ends > self._server.restarts_max:
                raise FailedRunError(
                    f"The model server {self._server.words[0]!r} was started {self._ends} times, "
                    f"and did not stay; at last it {cause or 'ended'}.",
                    safe=_SAFE,
                    next="See what it printed, mend the cause, and run the same command again.",
                )
            self._submit(self._executor)
        waited = monotonic() - self._began
        if not self.state.is_ready and waited > self._server.ready_seconds_max:
            raise FailedRunError(
                f"The model server at {self._server.url} was not ready after {waited:.0f} s.",
                safe=_SAFE,
                next="See what it printed; give it longer by ready_seconds_max=.",
            )

    def stop(self) -> None:
        """End it, with all that it started. It may be repeated."""
        self._ending.set()
        if self._executor is not None:
            self._executor.stop()
        if self._thread is not None:
            self._thread.join()

    def _submit(self, executor: Executor) -> None:
        # A server that can't have its address may take minutes to see it. Until then the other one
        # would answer, perhaps with another model.
        if not await_free(self._server.url):
            raise FailedRunError(
                f"Another server answers at {self._server.url} already, so this one can't begin.",
                safe=_SAFE + " The other server was asked for nothing.",
                next="End it, or give this one another port in command= and url=.",
            )
        self._began = monotonic()
        executor.submit(self._ends, self._server.words)

    def _watch(self) -> None:
        state = self.state
        while not self._ending.wait(LOOK_SECONDS):
            is_well = self._ask("/health") is not None
            if is_well:
                state.waiting = read_waiting(self._ask("/metrics") or b"")
                self._began, state.is_ready = monotonic(), True
            elif state.is_ready:
                self._began = monotonic()
                state.go_down()
            state.looks += 1

    def _ask(self, path: str) -> bytes | None:
        """What it answers with 200; None otherwise."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        url = self._server.url.rstrip("/") + path
        try:
            with opener.open(url, timeout=_ANSWER_SECONDS_MAX) as answer:
                found: bytes = answer.read(_ANSWER_BYTES_MAX)
                return found if answer.status == 200 else None
        except (OSError, ValueError, HTTPException):
            return None
