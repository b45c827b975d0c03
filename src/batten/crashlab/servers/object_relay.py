"""A relay between clients and an object store on this machine, which fails at will.

with ObjectRelay(server.port, lambda request: Fate.LOST) as relay:
    ...                                  # a client of relay.port
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import NamedTuple, Self

from batten.crashlab.points import strip_numbers
from batten.storage.twin.fates import Fate

_SECONDS = 60.0
_ERRORS = {
    500: b"<Error><Code>InternalError</Code></Error>",
    503: b"<Error><Code>SlowDown</Code></Error>",
}
_OWN_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding"})


class ObjectRequest(NamedTuple):
    """One request: `number` counts from 1, over all clients."""

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_change(self) -> bool:
        return self.method in ("PUT", "POST", "DELETE")


Choose = Callable[[ObjectRequest], Fate]


def number_changes(requests: Sequence[ObjectRequest]) -> list[int]:
    """Where a run is to be killed, counted from 1: at each request that changes something. A kill
    at a read leaves in the store what a kill after the change before it leaves."""
    return [number for number, request in enumerate(requests, 1) if request.is_change]


def number_places(requests: Sequence[ObjectRequest], chooser: Random) -> list[int]:
    """Where a request is to go wrong: each one that changes something, and of the reads one at each
    place (decision 0158). A store in memory tries them all."""
    reads: dict[tuple[str, str], list[int]] = {}
    for number, request in enumerate(requests, 1):
        if not request.is_change:
            reads.setdefault((request.method, strip_numbers(request.path)), []).append(number)
    return sorted([*number_changes(requests), *map(chooser.choice, reads.values())])


def kill_at(number: int, fate: Fate, begun: Sequence[subprocess.Popen[bytes]]) -> Choose:
    """The first that has begun is killed with its group at this request, which meets the fate."""

    def choose(request: ObjectRequest) -> Fate:
        if request.number != number:
            return Fate.DONE
        os.killpg(begun[0].pid, signal.SIGKILL)
        return fate

    return choose


class ObjectRelay:
    """Listens on `port` of this machine, and passes requests on.

    `fate` is asked for each request, before it is passed on, and where the sender is to die, `kill`
    is called. `requests` are those that came."""

    def __init__(
        self,
        server_port: int,
        fate: Choose,
        kill: Callable[[], None] = lambda: None,
    ) -> None:
        self._server_port, self._fate, self._kill = server_port, fate, kill
        self._one_at_a_time = threading.Lock()
        self.requests: list[ObjectRequest] = []
        self._late: list[ObjectRequest] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def deliver_late(self) -> None:
        """Carry out what nobody waits for any more."""
        waiting, self._late = self._late, []
        for request in waiting:
            self._pass_on(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, method: str, path: str, headers: dict[str, str], body: bytes) -> ObjectRequest:
        with self._one_at_a_time:
            request = ObjectRequest(len(self.requests) + 1, method, path, headers, body)
            self.requests.append(request)
            return request

    def _pass_on(self, request: ObjectRequest) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._server_port, timeout=_SECONDS)
        try:
            connection.putrequest(
                request.method, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(request.body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        request = self._take(handler.command, handler.path, dict(handler.headers.items()), body)
        fate = self._fate(request)
        if fate.is_death:
            self._kill()
        if fate.is_late:
            self._late.append(request)
        found = self._pass_on(request) if fate.is_done else None
        if fate.status is not None:
            found = fate.status, [], _ERRORS[fate.status]
        elif fate is not Fate.DONE:
            found = None
        if found is None:
            handler.close_connection = True
            return
        _send(handler, *found)

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Otherwise a body waits for the client to confirm its head: 40 ms.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                try:
                    relay._answer(self)
                except OSError:
                    self.close_connection = True

            do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                return

        return Handler


def _send(
    handler: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], body: bytes
) -> None:
    handler.send_response_only(status)
    has_length = False
    for name, value in headers:
        if name.lower() not in _OWN_HEADERS:
            handler.send_header(name, value)
            has_length = has_length or name.lower() == "content-length"
    if not has_length:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(b"" if handler.command == "HEAD" else body)
