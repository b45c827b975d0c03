"""A stand-in for a chat model, for the demo and the tests: `server.py [--port N]`, on loopback.

It answers /v1/chat/completions slowly, and the same request always alike. A share of the requests
fail at their first one or two tries, in all the ways in which real endpoints fail. /counts says
what was asked of it; /counts?idle waits until nothing is in hand. Requests in batches are answered
when it is told that the next day has come (`batch_service`).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from batch_service import BatchService

TROUBLED_SHARE = 0.15
TROUBLED_AGAIN_SHARE = 0.3
RETRY_AFTER_SECONDS = 1
PROMPT_TOKENS = 150

REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    429: "Too Many Requests",
    503: "Service Unavailable",
}

Query = dict[str, list[str]]


class Outcome(Enum):
    """What became of a call."""

    ANSWERED = "answered"
    MALFORMED = "malformed"
    DROPPED = "dropped"
    FAILED = "failed"
    REFUSED = "refused"


TROUBLES = {Outcome.MALFORMED: 4, Outcome.DROPPED: 3, Outcome.FAILED: 3, Outcome.REFUSED: 2}
"""How often each occurs, in relation to the others."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """All that follows from a request: how its first tries end, how slow it is, what it says."""

    name: str
    troubles: tuple[Outcome, ...]
    slowness: float
    content: str
    spoiled: str


def write_script(body: bytes) -> Script:
    asked = json.loads(body)
    name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    draw = random.Random(name)
    count = (draw.random() < TROUBLED_SHARE) * (1 + (draw.random() < TROUBLED_AGAIN_SHARE))
    content = json.dumps({"pairs": write_pairs(draw, asked["messages"][-1]["content"])})
    return Script(
        name=name,
        troubles=tuple(draw.choices(list(TROUBLES), list(TROUBLES.values()), k=count)),
        slowness=draw.uniform(0.5, 1.5),
        content=content,
        spoiled=draw.choice((content[: len(content) // 2], f"Sure! Here you are:\n{content}", "")),
    )


class Counts:
    """What was asked so far. A call counts when it ends, whether or not anybody still listens."""

    def __init__(self) -> None:
        self._tries: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._outcomes = dict.fromkeys(Outcome, 0)
        self._change = asyncio.Condition()

    @asynccontextmanager
    async def call(self, script: Script) -> AsyncIterator[Outcome]:
        """A call, from its beginning to its end; gives what is to become of it."""
        outcomes = (*script.troubles, Outcome.ANSWERED)
        outcome = outcomes[min(self._tries[script.name], len(script.troubles))]
        self._tries[script.name] += 1
        try:
            yield outcome
        finally:
            async with self._change:
                self._outcomes[outcome] += 1
                self._answers[script.name] += outcome is Outcome.ANSWERED
                self._change.notify_all()

    async def wait(self, query: Query) -> dict[str, int]:
        """The counts; asked for `idle`, as soon as nothing is in hand."""
        async with self._change:
            if "idle" in query:
                await self._change.wait_for(lambda: not self._count_in_hand())
        return {
            **{outcome.value: count for outcome, count in self._outcomes.items()},
            "requests": len(self._tries),
            "answered_again": sum(count - 1 for count in self._answers.values() if count),
        }

    def _count_in_hand(self) -> int:
        return self._tries.total() - sum(self._outcomes.values())


@dataclass(frozen=True, kw_only=True)
class Server:
    """Serves any number of connections; `milliseconds` is how long an answer takes, about."""

    milliseconds: float
    counts: Counts
    batches: BatchService

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a request after the other."""
        try:
            while not reader.at_eof():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = read_length(head)
                await self._respond(head, await reader.readexactly(length), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side went away
        finally:
            writer.close()

    async def _respond(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        method, target = head.split(" ", 2)[:2]
        url = urlsplit(target)
        if (method, url.path) == ("POST", "/v1/chat/completions"):
            await self._complete(write_script(body), writer)
        elif (method, url.path) == ("GET", "/counts/batches"):
            writer.write(render(200, self.batches.counts()))
        elif (method, url.path) == ("GET", "/next-day"):
            writer.write(render(200, self.batches.let_time_pass()))
        elif url.path.startswith("/v1/"):
            path = url.path.removeprefix("/v1/").split("/")
            writer.write(render(*await self.batches.respond(method, path, head, body)))
        elif (method, url.path) == ("GET", "/counts"):
            query = parse_qs(url.query, keep_blank_values=True)
            writer.write(render(200, await self.counts.wait(query)))
        else:
            writer.write(render(404, refusal(f"there is no {method} {url.path} here")))

    async def _complete(self, script: Script, writer: asyncio.StreamWriter) -> None:
        async with self.counts.call(script) as outcome:
            if outcome is Outcome.REFUSED:
                headers = f"Retry-After: {RETRY_AFTER_SECONDS}\r\n"
                writer.write(render(429, refusal("slow down"), headers))
                return
            await asyncio.sleep(script.slowness * self.milliseconds / 1000)
            answer = render(200, completion(script.name, script.content))
            if outcome is Outcome.ANSWERED:
                writer.write(answer)
            elif outcome is Outcome.MALFORMED:
                writer.write(render(200, completion(script.name, script.spoiled)))
            elif outcome is Outcome.FAILED:
                writer.write(render(503, refusal("overloaded")))
            else:
                writer.write(answer[: len(answer) // 2])
                writer.close()


async def answer_in_batch(counts: Counts, body: bytes) -> tuple[int, dict[str, Any]]:
    """Alike, and with the same troubles: a connection that would break is an error in a batch."""
    script = write_script(body)
    async with counts.call(script) as outcome:
        if outcome is Outcome.ANSWERED:
            return 200, completion(script.name, script.content)
        if outcome is Outcome.MALFORMED:
            return 200, completion(script.name, script.spoiled)
        return (429 if outcome is Outcome.REFUSED else 503), refusal("overloaded")


def read_length(head: str) -> int:
    for line in head.splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0


def render(status: int, value: dict[str, Any] | bytes, headers: str = "") -> bytes:
    """The response as it goes over the wire."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n"
    return f"{head}{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def refusal(message: str) -> dict[str, Any]:
    return {"error": {"message": message}}


def completion(name: str, content: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {
        "id": f"chatcmpl-{name[:24]}",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": len(content) // 4},
    }


QUESTIONS = (
    "My {product}: {problem}. What can I do?",
    "I bought a {product} {days_since_delivery} days ago and {problem}. Can I send it back?",
    "Hello, order {order} here: {problem}. Who helps me?",
    "What became of the parcel I sent back? It was a {product}, order {order}.",
    "It is day {days_since_delivery} with my {product} of order {order}. May I still return it?",
)
ANSWERS = (
    "I am sorry about that. Please send me a photo of the {product}, and I'll see to it today.",
    "Of course. You will find a label in your account; drop the parcel wherever suits you.",
    "You have thirty days from delivery. After that the warranty of two years takes over.",
    "Thanks for telling us. I have put a new {product} on its way; keep the old one.",
    "Read the manual.",
)


def write_pairs(draw: random.Random, facts: str) -> list[dict[str, Any]]:
    """Three questions with answers, about the facts that the last message states as JSON."""
    values = json.loads(facts)
    return [
        {
            "question": question.format_map(values),
            "answer": draw.choice(ANSWERS).format_map(values),
            "quality": draw.choices(range(1, 6), (1, 1, 2, 4, 4))[0],
        }
        for question in draw.sample(QUESTIONS, 3)
    ]


async def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for a chat model, on loopback.")
    parser.add_argument("--port", type=int, default=0, help="by default any that is free")
    parser.add_argument("--milliseconds", type=float, default=50, help="an answer takes about so")
    options = parser.parse_args()
    server = Server(
        milliseconds=options.milliseconds,
        counts=Counts(),
        batches=BatchService(partial(answer_in_batch, Counts())),
    )
    listening = await asyncio.start_server(server.serve, "127.0.0.1", options.port, backlog=1024)
    port = listening.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/v1", flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
