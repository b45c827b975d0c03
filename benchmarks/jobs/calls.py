"""A call over HTTP for each item."""

import aiohttp

import batten


def pipeline(port: int, calls: int, concurrency: int) -> object:
    class Ask:
        def __init__(self) -> None:
            # No limit of its own: the step bounds the calls in flight, as in calls_by_hand.py.
            self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

        async def __call__(self, item: int) -> dict[str, object]:
            async with self._client.get(f"http://127.0.0.1:{port}/{item}") as reply:
                return {"answer": (await reply.json())["answer"]}

        async def aclose(self) -> None:
            await self._client.close()

    made = batten.from_range(calls).map(Ask, concurrency=concurrency, version="1")
    return made.write_parquet("calls")
