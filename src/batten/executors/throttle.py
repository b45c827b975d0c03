"""Makes calls wait, in an event loop, for what a `Limiter` lets through."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from batten.executors.call_rates import Limiter, Limits, Pass, Sharing, find_overload


class Throttle:
    """The calls of one step, by host; those for one host go in the order in which they came."""

    def __init__(self, limits: Limits, concurrency: int, sharing: Sharing) -> None:
        self._limits = limits
        self._limiter = Limiter(limits, concurrency, sharing)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._changes: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def begin(self, item: Any) -> Pass:
        """Wait until the item may be called. Raises what the user's `host` or `tokens` raises."""
        host = self._limits.host(item) if self._limits.host is not None else ""
        tokens = self._limits.tokens(item) if self._limits.tokens is not None else 0
        turn = self._turns[host]
        if turn.locked() or self._limiter.wait_seconds(host, monotonic()):
            async with turn:
                await self._wait(host)
        return self._limiter.begin(host, tokens, monotonic())

    def end(self, passed: Pass, error: BaseException | None) -> None:
        """The call ended, with this error or well."""
        overload = find_overload(error, datetime.now(UTC)) if error is not None else None
        self._limiter.end(passed, overload, monotonic())
        self._changes[passed.host].set()

    def heed(self, waiting: int) -> None:
        """So many calls wait in the queue of who answers."""
        self._limiter.heed(waiting)

    def list_waits(self) -> list[str]:
        """What calls wait for, in a few words."""
        return self._limiter.list_waits(monotonic())

    def cancel(self, passed: Pass) -> None:
        self._limiter.cancel(passed)
        self._changes[passed.host].set()

    async def _wait(self, host: str) -> None:
        change = self._changes[host]
        while (seconds := self._limiter.wait_seconds(host, monotonic())) > 0:
            change.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                    await change.wait()
