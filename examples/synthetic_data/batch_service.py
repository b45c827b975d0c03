"""The stand-in's batches: OpenAI's files and batches, as far as a batch needs them.

A batch ends when the next day has come: /next-day makes that. /counts/batches says what was handed
in, and what was charged.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

Json = dict[str, Any]
Reply = tuple[int, Json | bytes]

Answer = Callable[[bytes], Awaitable[tuple[int, Json]]]
"""Gives the status and the answer for the body of a request."""


class BatchService:
    """Speaks the protocol of /files and /batches. `answer` is asked once for each request."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, Json] = {}
        self._handed_in: Counter[str] = Counter()
        self._tokens = {"prompt_tokens": 0, "completion_tokens": 0}
        self._is_next_day = False

    def counts(self) -> Json:
        """What was asked and charged so far."""
        return {
            "batches": len(self._batches),
            "handed_in": self._handed_in.total(),
            "handed_in_again": sum(count - 1 for count in self._handed_in.values()),
            **self._tokens,
        }

    def let_time_pass(self) -> Json:
        """From now on batches end as soon as they are looked at."""
        self._is_next_day = True
        return self.counts()

    async def respond(self, method: str, path: list[str], headers: str, body: bytes) -> Reply:
        """The answer to a request below /v1."""
        match method, path:
            case "POST", ["files"]:
                return 200, self._upload(headers, body)
            case "GET", ["files", name, "content"] if name in self._files:
                return 200, self._files[name]
            case "DELETE", ["files", name] if name in self._files:
                del self._files[name]
                return 200, {"id": name, "deleted": True}
            case "POST", ["batches"]:
                return self._begin(json.loads(body))
            case "GET", ["batches"]:
                newest_first = list(reversed(self._batches.values()))
                return 200, {"object": "list", "data": newest_first, "has_more": False}
            case "GET", ["batches", name] if name in self._batches:
                return 200, await self._look(self._batches[name])
            case "POST", ["batches", name, "cancel"] if name in self._batches:
                return 200, self._batches[name] | {"status": "cancelled"}
        return 404, {"error": {"message": f"there is no {method} {'/'.join(path)} here"}}

    def _upload(self, headers: str, body: bytes) -> Json:
        boundary = headers.partition("boundary=")[2].split("\r\n")[0].encode()
        parts = body.split(b"--" + boundary)
        data = next(part for part in parts if b"filename=" in part).split(b"\r\n\r\n", 1)[1]
        return {"id": self._keep(data.removesuffix(b"\r\n")), "object": "file"}

    def _keep(self, data: bytes) -> str:
        name = f"file-{len(self._files) + len(self._batches)}-{len(data)}"
        self._files[name] = data
        return name

    def _begin(self, told: Json) -> Reply:
        if told["input_file_id"] not in self._files:
            return 400, {"error": {"message": "there is no such file"}}
        for line in self._files[told["input_file_id"]].splitlines():
            self._handed_in[json.loads(line)["custom_id"]] += 1
        name = f"batch_{len(self._batches)}"
        self._batches[name] = {"id": name, "object": "batch", "status": "in_progress", **told}
        return 200, self._batches[name]

    async def _look(self, batch: Json) -> Json:
        if batch["status"] == "in_progress" and self._is_next_day:
            requests = self._files[batch["input_file_id"]].splitlines()
            lines = [await self._work(json.loads(request)) for request in requests]
            batch["output_file_id"] = self._keep(b"\n".join(lines))
            batch["status"] = "completed"
        return batch

    async def _work(self, request: Json) -> bytes:
        status, body = await self._answer(json.dumps(request["body"]).encode())
        for unit in self._tokens:
            self._tokens[unit] += body.get("usage", {}).get(unit, 0)
        response = {"status_code": status, "body": body}
        line = {"custom_id": request["custom_id"], "response": response, "error": None}
        return json.dumps(line).encode()
