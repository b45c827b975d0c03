"""A local server that speaks OpenAI's files and batches, and fails in the ways that they do.

It counts what it charged, and how often each request was begun. Trouble is drawn up before: for the
n-th request of a kind, in a list of what becomes of it.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

KEY = "sk-test-0123456789abcdef"
TOKENS = 10

Line = dict[str, Any]
Fate = str | int | Callable[[bytes], bytes]


PARTLY = ("expired", "cancelled", "canceled")
"""How a batch may end before all of it is done."""


class Cut(bytes):
    """An answer of which the end does not come."""


class VendorServer:
    """`trouble` maps "POST /batches" and the like to what becomes of the next such requests:
    "lost" (done, no answer), "twice" (done twice, no answer, the first of them to its end),
    "dropped" (not done, no answer), "cut" (done, the end of the answer does not come), "nonsense"
    (done, an answer that makes no sense), an HTTP status (not done), "" (as usual), or a function
    that gets the answer and gives another (done). `outcomes` are those of the next batches: a
    status, or a function that gets the lines of answers and gives others. `looks` is how often a
    batch is looked at before it has ended. `lag`: so many listings lack new batches."""

    def __init__(self, *, is_part: bool = False) -> None:
        self._lock = threading.RLock()
        self.trouble: dict[str, deque[Fate]] = {}
        self.outcomes: deque[str | Callable[[list[Line]], Iterable[Line | bytes]]] = deque()
        self.looks = 1
        self.lag = 0
        self.page = 3
        self.files: dict[str, tuple[str, bytes]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.charged: list[int] = []
        self.begun: Counter[str] = Counter()
        self.handed_in: Counter[str] = Counter()
        """How often each request was in a batch that could begin."""
        self.asked: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.answer: Callable[[Any], Any] = answer_chat
        self.others: dict[str, VendorServer] = {}
        """Accounts of their own, by the first piece of the path."""
        self.watch: Callable[[int, str], None] = lambda number, when: None
        """Called with the number of each request, "before" and "after" it is done."""
        if is_part:
            return
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def account(self, name: str) -> VendorServer:
        with self._lock:
            return self.others.setdefault(name, VendorServer(is_part=True))

    def address(self, name: str) -> str:
        """Of the account of that name."""
        return self.base_url.replace("/v1", f"/{name}/v1")

    def expect(self, request: str, *fates: Fate) -> None:
        self.trouble.setdefault(request, deque()).extend(fates)

    def stall(self) -> None:
        """Batches that begin from now on do not end."""
        self.looks = 1 << 60

    def go_on(self) -> None:
        with self._lock:
            self.looks = 1
            for batch in self.batches.values():
                batch["looks"] = 0

    @property
    def tokens(self) -> int:
        """What was charged in all."""
        with self._lock:
            return sum(self.charged)

    def do(self, method: str, path: str, body: bytes, headers: Any) -> tuple[int, bytes] | None:
        """The answer; None if there is none."""
        if not path.startswith("/v1/"):
            name, _, rest = path.removeprefix("/").partition("/")
            return self.account(name).do(method, f"/{rest}", body, headers)
        url = urlsplit(path)
        parts = url.path.removeprefix("/v1").strip("/").split("/")
        known = [part if n != 1 else "{id}" for n, part in enumerate(parts)]
        name = f"{method} /{'/'.join(known)}"
        with self._lock:
            self.asked[name] += 1
            self.keys.add(headers.get("Authorization", ""))
            fates = self.trouble.get(name)
            fate = fates.popleft() if fates else ""
            if isinstance(fate, int):
                # Some vendors repeat what they refuse.
                key = headers.get("Authorization", "")
                told = {"error": {"message": f"as was drawn up for {key}", "code": None}}
                return fate, json.dumps(told).encode()
            if fate == "dropped":
                return None
            number = self.asked.total()
            self.watch(number, "before")
            if fate == "twice":
                first = json.loads(self._answer(method, parts, {}, body, headers)[1])
                self._work(self.batches[first["id"]])
            answer = self._answer(method, parts, parse_qs(url.query), body, headers)
            self.watch(number, "after")
        if fate in ("lost", "twice"):
            return None
        if fate == "cut":
            return answer[0], Cut(answer[1][:-1])
        if callable(fate):
            return answer[0], fate(answer[1])
        return (200, b"<html>gateway</html>") if fate == "nonsense" else answer

    def _answer(
        self, method: str, parts: list[str], query: dict[str, list[str]], body: bytes, headers: Any
    ) -> tuple[int, bytes]:
        match method, parts:
            case "POST", ["files"]:
                return self._upload(body, headers)
            case "POST", ["batches"]:
                return self._begin(json.loads(body))
            case "GET", ["batches"]:
                return self._list(query)
            case "GET", ["batches", batch]:
                return self._look(batch)
            case "POST", ["batches", batch, "cancel"]:
                return self._cancel(batch)
            case "GET", ["files", file, "content"]:
                return (200, self.files[file][1]) if file in self.files else _missing()
            case "DELETE", ["files", file]:
                return (200, b"{}") if self.files.pop(file, None) else _missing()
        return _missing()

    def _upload(self, body: bytes, headers: Any) -> tuple[int, bytes]:
        boundary = headers["Content-Type"].partition("boundary=")[2].encode()
        parts = body.split(b"--" + boundary)
        [head, data] = next(p for p in parts if b"filename=" in p).split(b"\r\n\r\n", 1)
        name = head.split(b'filename="')[1].split(b'"')[0].decode()
        file = f"file-{len(self.files) + self.asked['POST /files']}"
        self.files[file] = (name, data.removesuffix(b"\r\n"))
        return _json({"id": file, "object": "file", "purpose": "batch", "created_at": 1})

    def _begin(self, told: dict[str, Any]) -> tuple[int, bytes]:
        number = len(self.batches) + 1
        batch = {
            "id": f"batch_{number}",
            "object": "batch",
            "endpoint": told["endpoint"],
            "input_file_id": told["input_file_id"],
            "completion_window": told["completion_window"],
            "metadata": told["metadata"],
            "created_at": 1_700_000_000 - number,
            "status": "validating",
            "looks": self.looks,
        }
        if told["input_file_id"] not in self.files:
            errors = [{"code": "invalid_file", "message": "no such file", "line": None}]
            batch |= {"status": "failed", "errors": {"object": "list", "data": errors}}
        else:
            lines = self.files[told["input_file_id"]][1].splitlines()
            self.handed_in.update(json.loads(line)["custom_id"] for line in lines)
        self.batches[batch["id"]] = batch
        return _json(batch)

    def _list(self, query: dict[str, list[str]]) -> tuple[int, bytes]:
        batches = list(self.batches.values())
        if self.lag:
            self.lag -= 1
            batches = batches[:-1]
        batches.reverse()
        after = query.get("after", [""])[0]
        ids = [each["id"] for each in batches]
        start = ids.index(after) + 1 if after else 0
        page = batches[start : start + self.page]
        return _json({"object": "list", "data": page, "has_more": start + self.page < len(batches)})

    def _look(self, name: str) -> tuple[int, bytes]:
        batch = self.batches.get(name)
        if batch is None:
            return _missing()
        if batch["status"] in ("validating", "in_progress", "finalizing", "cancelling"):
            if batch["looks"] > 0:
                batch["looks"] -= 1
                if batch["status"] == "validating":
                    batch["status"] = "in_progress"
            else:
                self._work(batch)
        return _json(batch)

    def _cancel(self, name: str) -> tuple[int, bytes]:
        batch = self.batches.get(name)
        if batch is None:
            return _missing()
        if batch["status"] in ("validating", "in_progress"):
            self._finish(batch, "cancelled", [])
        return _json(batch)

    def _work(self, batch: dict[str, Any]) -> None:
        outcome = self.outcomes.popleft() if self.outcomes else "completed"
        data = self.files[batch["input_file_id"]][1]
        requests = [json.loads(line) for line in data.splitlines()]
        if outcome == "slow":
            batch["looks"] = 3
            return
        if outcome in ("failed", "no room"):
            code = "token_limit_exceeded" if outcome == "no room" else "internal"
            errors = [{"code": code, "message": "too many", "line": None}]
            batch |= {"status": "failed", "errors": {"object": "list", "data": errors}}
            return
        is_partly = isinstance(outcome, str) and outcome.lower() in PARTLY
        done = requests[: len(requests) // 2] if is_partly else requests
        lines: list[Line | bytes] = []
        for request in done:
            self.begun[request["custom_id"]] += 1
            answer = self.answer(request["body"])
            status = 200 if isinstance(answer, dict) else answer
            body = answer if status == 200 else {"error": {"message": "busy"}}
            if status == 200 and "usage" in body:
                self.charged.append(body["usage"]["prompt_tokens"])
            lines.append(_line(request["custom_id"], status, body))
        if callable(outcome):
            changed = outcome([each for each in lines if isinstance(each, dict)])
            self._finish(batch, "completed", list(changed))
            return
        ended = str(outcome) if is_partly else "completed"
        for request in requests[len(done) :]:
            error = {"code": "batch_expired", "message": "not done in time"}
            lines.append({"custom_id": request["custom_id"], "response": None, "error": error})
        self._finish(batch, ended, lines)

    def _finish(self, batch: dict[str, Any], status: str, lines: list[Line | bytes]) -> None:
        good: list[bytes] = []
        bad: list[bytes] = []
        for number, line in enumerate(lines):
            if isinstance(line, bytes):
                good.append(line)
                continue
            response = line.get("response") or {}
            data = json.dumps({"id": f"{batch['id']}-{number}", **line}).encode()
            (good if response.get("status_code") == 200 else bad).append(data)
        for kind, content in (("output", good), ("error", bad)):
            if content:
                file = f"{kind}-{batch['id']}"
                self.files[file] = (file, b"\n".join(content))
                batch[f"{kind}_file_id"] = file
        counts = {"total": len(lines), "completed": len(good), "failed": len(bad)}
        batch |= {"status": status, "request_counts": counts}

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = server.do(self.command, self.path, body, self.headers)
                if answer is None:
                    self.close_connection = True
                    return
                status, data = answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(data) + isinstance(data, Cut)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _do

            def log_message(self, *arguments: object) -> None:
                return

        return Handler


def answer_chat(body: Any) -> Any:
    """What the model says: what it was asked, in capitals."""
    text = body["messages"][-1]["content"]
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text.upper()}}],
        "usage": {"prompt_tokens": TOKENS + len(text), "completion_tokens": len(text)},
    }


def _line(name: str, status: int, body: Any) -> Line:
    return {"custom_id": name, "response": {"status_code": status, "body": body}, "error": None}


def _json(value: Any) -> tuple[int, bytes]:
    return 200, json.dumps(value).encode()


def _missing() -> tuple[int, bytes]:
    return 404, json.dumps({"error": {"message": "no such thing"}}).encode()


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[VendorServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("VENDOR_KEY", KEY)
    server = VendorServer()
    yield server
    server.close()
