"""Calls of a tenth of a second, 50 at a time: by batten or by hand. Run as `repeated.py WAY PORT
CALLS`; the endpoint counts them."""

import concurrent.futures
import json
import os
import sys
import threading
import urllib.request
from pathlib import Path

import aiohttp

import batten

CONCURRENCY = 50


def ask(number: int) -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/{number}") as answer:
        return {"answer": answer.read().decode()}


class Ask:
    def __init__(self) -> None:
        self._client = aiohttp.ClientSession()

    async def __call__(self, number: int) -> dict[str, object]:
        async with self._client.get(f"http://127.0.0.1:{sys.argv[2]}/{number}") as answer:
            return {"answer": await answer.text()}

    async def aclose(self) -> None:
        await self._client.close()


def loop(calls: int) -> None:
    """Each answer is appended to a file, so that a kill costs what is in flight alone. Nothing
    else is kept: neither accounts, nor failures, nor whether the answers are on disk."""
    path = Path("by_hand.jsonl")
    done = set()
    if path.exists():
        lines = path.read_text().split("\n")[:-1]
        done = {json.loads(line)["number"] for line in lines}
        path.write_text("".join(f"{line}\n" for line in lines))
    lock = threading.Lock()

    def work(number: int) -> None:
        line = json.dumps({"number": number, **ask(number)})
        with lock, path.open("a") as file:
            file.write(f"{line}\n")

    with concurrent.futures.ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(work, [number for number in range(calls) if number not in done]))


def main(way: str, calls: int) -> None:
    if way == "loop":
        loop(calls)
        return
    start = batten.from_range(calls)
    if way == "threads":
        start.map(ask).write_parquet("out").run(
            jobs=CONCURRENCY, executor="threads", progress=False
        )
    else:
        awaited = start.map(Ask, concurrency=CONCURRENCY, version="1")
        awaited.write_parquet("out").run(progress=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[3]))
    os._exit(0)
