"""The same as calls.py in a bare asyncio loop; it survives nothing."""

import asyncio
import sys

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq


async def ask_all(port: int, calls: int, concurrency: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [{} for _ in range(calls)]
    places = asyncio.Semaphore(concurrency)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client,
        asyncio.TaskGroup() as group,
    ):

        async def ask(item: int) -> None:
            async with places, client.get(f"http://127.0.0.1:{port}/{item}") as reply:
                rows[item] = {"answer": (await reply.json())["answer"]}

        for item in range(calls):
            group.create_task(ask(item))
    return rows


if __name__ == "__main__":
    made = asyncio.run(ask_all(*map(int, sys.argv[1:])))
    pq.write_table(pa.Table.from_pylist(made), "calls.parquet")
