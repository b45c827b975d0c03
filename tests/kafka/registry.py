"""A schema registry for tests, over real HTTP on this machine: Confluent's protocol, as far as
clients of values need it. It keeps schemas in memory, and fails as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fastavro.schema import SchemaParseException, parse_schema

KIND = "application/vnd.schemaregistry.v1+json"


class Fault(Enum):
    """What becomes of the next request."""

    LOSES_REQUEST = auto()
    LOSES_ANSWER = auto()
    HANGS = auto()
    CUTS_ANSWER = auto()


Fails = Fault | tuple[int, bytes] | None
"""Or an answer in the place of its own: a status and a body."""


class Registry:
    """`schemas` has the texts by their ids, `versions` the ids by subjects, oldest first. `asked`
    are the requests so far."""

    def __init__(self) -> None:
        self.schemas: dict[int, str] = {}
        self.versions: dict[str, list[int]] = {}
        self.asked: list[str] = []
        self.authorization = ""
        self.fails: Fails = None
        self.ended = threading.Event()
        self._guard = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        with self._guard:
            parts = path.partition("?")[0].strip("/").split("/")
            match method, parts:
                case "POST", ["subjects", subject, "versions"]:
                    return self._register(subject, body)
                case "GET", ["schemas", "ids", number]:
                    if int(number) not in self.schemas:
                        return 404, {"error_code": 40403, "message": "Schema not found"}
                    return 200, {"schema": self.schemas[int(number)]}
            return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _register(self, subject: str, body: Any) -> tuple[int, Any]:
        text = body["schema"]
        try:
            parse_schema(json.loads(text))
        except (SchemaParseException, ValueError) as error:
            return 422, {"error_code": 42201, "message": f"Invalid schema: {error}"}
        known = self.versions.setdefault(subject, [])
        for number in known:
            if json.loads(self.schemas[number]) == json.loads(text):
                return 200, {"id": number}
        if known and not _can_read(json.loads(text), json.loads(self.schemas[known[-1]])):
            told = "Schema being registered is incompatible with an earlier schema for subject "
            return 409, {"error_code": 409, "message": f'{told}"{subject}"'}
        numbers = (each for each, has in self.schemas.items() if has == text)
        number = next(numbers, len(self.schemas) + 1)
        self.schemas[number] = text
        known.append(number)
        return 200, {"id": number}

    @contextmanager
    def running(self) -> Iterator[Registry]:
        self._thread.start()
        try:
            yield self
        finally:
            self.ended.set()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


def _can_read(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """Whether readers with the new schema understand what was written with the old one."""
    before = {each["name"]: each["type"] for each in old["fields"]}
    return new["name"] == old["name"] and all(
        before[each["name"]] == each["type"] if each["name"] in before else "default" in each
        for each in new["fields"]
    )


def _handler(registry: Registry) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._do("GET")

        def do_POST(self) -> None:
            self._do("POST")

        def _do(self, method: str) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            registry.asked.append(f"{method} {self.path}")
            fails, registry.fails = registry.fails, None
            if fails is Fault.LOSES_REQUEST:
                return
            if fails is Fault.HANGS:
                registry.ended.wait()
                return
            if registry.authorization not in ("", self.headers.get("Authorization")):
                self._send(401, json.dumps({"error_code": 401, "message": "Unauthorized"}).encode())
                return
            status, told = registry.answer(method, self.path, json.loads(data) if data else None)
            body = json.dumps(told).encode()
            if isinstance(fails, tuple):
                status, body = fails
            if fails is not Fault.LOSES_ANSWER:
                self._send(status, body, len(body) + (fails is Fault.CUTS_ANSWER))

        def _send(self, status: int, body: bytes, length: int | None = None) -> None:
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", registry.address + "/elsewhere")
            self.send_header("Content-Type", KIND)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    return Handler
