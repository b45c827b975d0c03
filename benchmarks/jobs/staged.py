"""Calls that wait, many at a time: their answers put aside as they come, or twice a second, or by
a loop that keeps them in memory. Run as `staged.py WAY PUTTING CALLS CONCURRENCY SECONDS`."""

import asyncio
import concurrent.futures
import json
import os
import shutil
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq

import batten
from batten.work import work_sizes
from batten.work.staged import staging_pace

SECONDS = float(sys.argv[5])


def ask(number: int) -> dict[str, object]:
    time.sleep(SECONDS)
    return {"answer": f"an answer to {number}"}


async def ask_awaited(number: int) -> dict[str, object]:
    await asyncio.sleep(SECONDS)
    return {"answer": f"an answer to {number}"}


def by_hand(way: str, calls: int, concurrency: int) -> None:
    """All answers are lost with a kill: nothing is written before the end."""
    if way == "threads":
        with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
            rows = list(pool.map(ask, range(calls)))
    else:
        rows = asyncio.run(await_all(calls, concurrency))
    pq.write_table(pa.Table.from_pylist(rows), "out.parquet")


async def await_all(calls: int, concurrency: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    numbers = iter(range(calls))

    async def work() -> None:
        rows.extend([await ask_awaited(number) for number in numbers])

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return rows


def main(way: str, putting: str, calls: int, concurrency: int) -> None:
    if putting == "by-hand":
        by_hand(way, calls, concurrency)
        return
    if putting == "seldom":
        for module in (staging_pace, work_sizes):
            for name in ("ANSWERS_A_SECOND_MAX", "SLOW_ITEMS_A_SECOND"):
                setattr(module, name, 0.0)
    start = batten.from_range(calls)
    if way == "threads":
        made = start.map(ask).write_parquet("out")
        made.run(jobs=concurrency, executor="threads", progress=False)
    else:
        made = start.map(ask_awaited, concurrency=concurrency).write_parquet("out")
        made.run(progress=False)


if __name__ == "__main__":
    for name in ("out", "out.batten"):
        shutil.rmtree(name, ignore_errors=True)
    began, processor = time.perf_counter(), time.process_time()
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    took = {"seconds": time.perf_counter() - began, "processor": time.process_time() - processor}
    print(json.dumps(took), flush=True)
    os._exit(0)
