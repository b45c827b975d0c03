"""What calls wait for is told while they wait."""

from __future__ import annotations

from pathlib import Path

import batten
from batten.executors.call_rates import Limiter, Limits, Overload


class TooManyError(Exception):
    """As a client raises it for a server that asks for patience."""

    status_code = 429

    def __init__(self) -> None:
        super().__init__("429")
        self.headers = {"retry-after": "2"}


def test_each_host_says_what_it_asked_for() -> None:
    limiter = Limiter(Limits(), 10)
    assert limiter.list_waits(0.0) == []
    passed = limiter.begin("api.example.com", 0, 1.0)
    limiter.end(passed, Overload(retry_after_seconds=12.0), 2.0)
    assert limiter.list_waits(3.0) == ["api.example.com asked to wait 11 s"]
    assert limiter.list_waits(20.0) == ["api.example.com bears 7 of 10 calls at a time"]
    for number in range(100):
        limiter.end(limiter.begin("api.example.com", 0, 20.0 + number), None, 21.0 + number)
    assert limiter.list_waits(200.0) == []


def test_a_run_tells_it(tmp_path: Path) -> None:
    asked: list[int] = []

    async def ask(n: int) -> dict[str, int]:
        asked.append(n)
        if len(asked) == 1:
            raise TooManyError
        return {"n": n}

    seen: list[batten.Status] = []
    pipeline = batten.from_range(3).map(ask, retries=3, concurrency=1)
    pipeline.write_parquet(tmp_path / "out").run(progress=seen.append)
    waits = {wait for status in seen for wait in status.waits}
    assert {"asked to wait 2 s", "asked to wait 1 s"} & waits
