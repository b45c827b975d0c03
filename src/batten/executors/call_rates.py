"""How fast a host may be called: rates, what it asks for itself, and how much it bears.

`Limits` is what the user says; `Limiter` keeps count by it. It has no clock: the time, in seconds
that never go back, is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batten.errors import usage_error
from batten.executors.answers import find_retry_after, find_status, is_of_connection
from batten.model.value_class import value_class

BURST_SECONDS = 1.0
"""A host that was idle may be given the calls of so long a time at once."""

DECREASE = 0.7
INCREASES_TO_CEILING = 20
"""A host that is well again is back at full concurrency after so many rounds of calls."""

TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How fast a step may call a host. It changes the speed only, never results.

    What a host asks for by `Retry-After` is always kept.

    Attributes:
        requests_per_minute: The most calls in a minute to each host; by default there is no limit.
        tokens_per_minute: The most tokens in a minute for each host; by default there is no limit.
            It needs `tokens`.
        tokens: Estimates the tokens of a call, from its item. By default there is none;
            `tokens_per_minute` needs it.
        host: Names the host that an item is for; by default all calls go to one.
        adapts: Whether to call less while a host answers 429 or 5xx or breaks connections, and more
            again when it does not. True by default.

    Raises:
        UsageError: A rate is not above zero, or only one of `tokens_per_minute` and `tokens` is
            given.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    tokens: Callable[[Any], float] | None = None
    host: Callable[[Any], str] | None = None
    adapts: bool = True

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute"):
            rate = getattr(self, name)
            if rate is not None and not (isinstance(rate, int | float) and 0 < rate < math.inf):
                raise usage_error(f"{name} is {rate!r}.", "Give a number above zero.")
        if (self.tokens_per_minute is None) != (self.tokens is None):
            raise usage_error(
                "tokens_per_minute= and tokens= need each other.",
                "Say how many tokens a call takes: tokens=lambda item: len(item['prompt']) // 4.",
            )


@value_class
class Overload:
    """A call failed in a way that asks for patience, perhaps for so many seconds."""

    retry_after_seconds: float | None = None


@value_class
class Pass:
    """A call that was let through to a host at a time."""

    host: str
    began: float


@dataclass
class Sharing:
    """How many machines call the hosts for one run, as it is known now. Each has its share of the
    rates (decision 0136)."""

    machines: int = 1


class CallRate:
    """A rate, without a queue: it only knows when the next call is due."""

    def __init__(self, per_minute: float, sharing: Sharing) -> None:
        self._seconds_each = 60 / per_minute
        self._sharing = sharing
        self._due = -math.inf

    def wait_seconds(self, now: float) -> float:
        return max(0.0, self._due - BURST_SECONDS - now)

    def take(self, count: float, now: float) -> None:
        """A single call may take more than the burst; those after it wait all the longer."""
        seconds = count * self._seconds_each * self._sharing.machines
        self._due = max(self._due, now) + seconds


@dataclass(kw_only=True)
class _Host:
    concurrency: float
    requests: CallRate | None
    tokens: CallRate | None
    in_flight: int = 0
    resumes: float = -math.inf
    decreased: float = -math.inf


class Limiter:
    """Lets calls through to hosts. `concurrency` bounds those in flight to one host."""

    def __init__(self, limits: Limits, concurrency: int, sharing: Sharing | None = None) -> None:
        self._limits = limits
        self._sharing = sharing or Sharing()
        self._ceiling = concurrency
        self._hosts: dict[str, _Host] = {}

    def wait_seconds(self, host: str, now: float) -> float:
        """How long until a call may go, as things stand; infinite until another one ends."""
        known = self._host(host)
        if known.in_flight >= int(known.concurrency):
            return math.inf
        wait = max(0.0, known.resumes - now)
        for pace in (known.requests, known.tokens):
            if pace is not None:
                wait = max(wait, pace.wait_seconds(now))
        return wait

    def begin(self, host: str, tokens: float, now: float) -> Pass:
        """A call goes, whether or not it should have waited."""
        known = self._host(host)
        known.in_flight += 1
        if known.requests is not None:
            known.requests.take(1, now)
        if known.tokens is not None:
            known.tokens.take(tokens, now)
        return Pass(host=host, began=now)

    def end(self, passed: Pass, overload: Overload | None, now: float) -> None:
        """The call ended: well or by a fault of its own, or because the host is overloaded."""
        host = self._hosts[passed.host]
        host.in_flight -= 1
        if overload is None:
            step = max(1.0, self._ceiling / INCREASES_TO_CEILING) / host.concurrency
            host.concurrency = min(host.concurrency + step, self._ceiling)
            return
        if overload.retry_after_seconds is not None:
            host.resumes = max(host.resumes, now + overload.retry_after_seconds)
        # Calls that were in flight together tell of one overload, not of many.
        if self._limits.adapts and passed.began > host.decreased:
            host.concurrency = max(1.0, host.concurrency * DECREASE)
            host.decreased = now

    def heed(self, waiting: int) -> None:
        """So many calls wait in the queue of who answers: no more than it works on are to be in
        flight. From there they become more again, as calls end well."""
        if waiting <= 0 or not self._limits.adapts:
            return
        for host in self._hosts.values():
            worked_on = max(1.0, float(host.in_flight - waiting))
            host.concurrency = min(host.concurrency, worked_on)

    def cancel(self, passed: Pass) -> None:
        """The call was given up, which tells nothing of the host."""
        self._hosts[passed.host].in_flight -= 1

    def list_waits(self, now: float) -> list[str]:
        """What calls wait for, in a few words for each host. What the user's own rates hold back is
        as it was asked for, and is not told."""
        told = []
        for name, host in self._hosts.items():
            of = f"{name} " if name else ""
            if host.resumes > now:
                told.append(f"{of}asked to wait {math.ceil(host.resumes - now)} s")
            elif int(host.concurrency) < self._ceiling:
                told.append(f"{of}bears {int(host.concurrency)} of {self._ceiling} calls at a time")
        return told

    def concurrency(self, host: str) -> int:
        """How many calls the host is thought to bear."""
        return int(self._host(host).concurrency)

    def _host(self, host: str) -> _Host:
        known = self._hosts.get(host)
        if known is None:
            limits = self._limits
            known = self._hosts[host] = _Host(
                concurrency=float(self._ceiling),
                requests=self._rate(limits.requests_per_minute),
                tokens=self._rate(limits.tokens_per_minute),
            )
        return known

    def _rate(self, per_minute: float | None) -> CallRate | None:
        return CallRate(per_minute, self._sharing) if per_minute is not None else None


def find_overload(error: BaseException, wall_clock: datetime) -> Overload | None:
    """What an exception of a client says of the host, or None if it is no overload. The status of
    the answer tells, or that a connection broke or took too long."""
    status = find_status(error)
    if status is None:
        return Overload() if is_of_connection(error) else None
    if status != TOO_MANY_REQUESTS and status < 500:
        return None
    return Overload(retry_after_seconds=find_retry_after(error, wall_clock))
