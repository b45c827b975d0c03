"""A call over HTTP for each item."""

import httpx

import batten


class Ask:
    def __init__(self, port: int) -> None:
        unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx.AsyncClient(limits=unlimited, timeout=600, trust_env=False)
        self._address = f"http://127.0.0.1:{port}"

    async def ask(self, item: int) -> dict[str, object]:
        reply = await self._client.get(f"{self._address}/{item}")
        return {"answer": reply.json()["answer"]}


def pipeline(port: int, calls: int, concurrency: int) -> object:
    class AskHere(Ask):
        def __init__(self) -> None:
            super().__init__(port)

        async def __call__(self, item: int) -> dict[str, object]:
            return await self.ask(item)

    made = batten.from_range(calls).map(AskHere, concurrency=concurrency, version="1")
    return made.write_parquet("calls")
