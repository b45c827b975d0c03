"""How fast a host is called, with the time passed in."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from batten.errors import UsageError
from batten.executors.call_rates import (
    BURST_SECONDS,
    Limiter,
    Limits,
    Overload,
    Pass,
    Sharing,
    find_overload,
)

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)


def let_through(limiter: Limiter, seconds: float, tokens: float = 0, step: float = 0.01) -> int:
    """How many calls that take no time may go in so long."""
    count = 0
    for number in range(round(seconds / step)):
        now = number * step
        while not limiter.wait_seconds("", now):
            limiter.end(limiter.begin("", tokens, now), None, now)
            count += 1
    return count


def test_nothing_is_limited_but_those_in_flight() -> None:
    limiter = Limiter(Limits(), 3)
    passes = [limiter.begin("", 0, 0) for _ in range(3)]
    assert limiter.wait_seconds("", 0) == math.inf
    assert limiter.wait_seconds("other", 0) == 0
    limiter.end(passes[0], None, 0)
    assert limiter.wait_seconds("", 0) == 0
    limiter.cancel(passes[1])
    assert (limiter.wait_seconds("", 0), limiter.concurrency("")) == (0, 3)


@pytest.mark.parametrize("per_minute", [30, 60, 600, 6000])
def test_requests_a_minute(per_minute: int) -> None:
    count = let_through(Limiter(Limits(requests_per_minute=per_minute), 100), 120)
    burst = math.ceil(per_minute / 60 * BURST_SECONDS) + 1
    assert 2 * per_minute <= count <= 2 * per_minute + burst


@pytest.mark.parametrize("machines", [2, 5])
def test_machines_share_a_rate(machines: int) -> None:
    limits, sharing = Limits(requests_per_minute=600), Sharing(machines=machines)
    count = sum(let_through(Limiter(limits, 100, sharing), 120) for _ in range(machines))
    burst = math.ceil(600 / 60 * BURST_SECONDS) + 2 * machines
    assert 1200 <= count <= 1200 + burst


def test_a_machine_that_comes_slows_down_the_others() -> None:
    sharing = Sharing()
    limiter = Limiter(Limits(requests_per_minute=60), 100, sharing)
    sharing.machines = 10
    limiter.end(limiter.begin("", 0, 0), None, 0)
    assert limiter.wait_seconds("", 0) == 10 - BURST_SECONDS


def test_tokens_a_minute_even_of_calls_that_take_more_than_the_burst() -> None:
    limits = Limits(tokens_per_minute=6000, tokens=lambda item: 1000)
    count = let_through(Limiter(limits, 100), 120, tokens=1000)
    assert 12 <= count <= 13


def test_each_host_has_its_own_rate() -> None:
    limiter = Limiter(Limits(requests_per_minute=1, host=str), 10)
    limiter.end(limiter.begin("a", 0, 0), None, 0)
    assert limiter.wait_seconds("a", 0) == 59
    assert limiter.wait_seconds("b", 0) == 0


@pytest.mark.parametrize("adapts", [True, False])
def test_retry_after_holds_the_host_back(adapts: bool) -> None:
    limiter = Limiter(Limits(adapts=adapts, host=str), 10)
    limiter.end(limiter.begin("a", 0, 0), Overload(retry_after_seconds=7), 1)
    limiter.end(limiter.begin("a", 0, 0), Overload(retry_after_seconds=2), 1)
    assert limiter.wait_seconds("a", 1) == 7
    assert limiter.wait_seconds("b", 1) == 0
    assert limiter.wait_seconds("a", 8) == 0


def test_calls_that_fail_together_tell_of_one_overload() -> None:
    limiter = Limiter(Limits(), 100)
    passes = [limiter.begin("", 0, 0) for _ in range(100)]
    for each in passes:
        limiter.end(each, Overload(), 1)
    assert limiter.concurrency("") == 70
    limiter.end(limiter.begin("", 0, 2), Overload(), 3)
    assert limiter.concurrency("") == 49


def test_concurrency_is_not_adapted_where_it_is_not_wanted() -> None:
    limiter = Limiter(Limits(adapts=False), 100)
    limiter.end(limiter.begin("", 0, 0), Overload(), 1)
    assert limiter.concurrency("") == 100


def rounds(limiter: Limiter, count: int, bears: Callable[[int], bool], began: int) -> None:
    """Rounds of as many calls as may be in flight; the host bears so many."""
    for now in range(began, began + 2 * count, 2):
        passes: list[Pass] = []
        while not limiter.wait_seconds("", now):
            passes.append(limiter.begin("", 0, now))
        for number, each in enumerate(passes):
            limiter.end(each, None if bears(number) else Overload(), now + 1)


def test_concurrency_finds_what_the_host_bears_and_returns() -> None:
    limiter = Limiter(Limits(), 500)
    rounds(limiter, 200, lambda number: number < 80, 0)
    assert 50 <= limiter.concurrency("") <= 110
    rounds(limiter, 200, lambda number: False, 1000)
    assert limiter.concurrency("") == 1
    rounds(limiter, 25, lambda number: True, 2000)
    assert limiter.concurrency("") == 500


def test_whatever_happens_at_least_one_call_may_go(seeded: random.Random) -> None:
    limiter = Limiter(Limits(), 20)
    passes: list[Pass] = []
    for now in range(5000):
        wait = limiter.wait_seconds("", now)
        assert wait == 0 or len(passes) == limiter.concurrency("")
        if wait == 0 and seeded.random() < 0.6:
            passes.append(limiter.begin("", 0, now))
        elif passes:
            overload = Overload() if seeded.random() < 0.5 else None
            limiter.end(passes.pop(seeded.randrange(len(passes))), overload, now)
        assert 1 <= limiter.concurrency("") <= 20
        while len(passes) > limiter.concurrency(""):
            limiter.end(passes.pop(), None, now)


@pytest.mark.parametrize(
    "options",
    [
        {"requests_per_minute": 0},
        {"requests_per_minute": math.inf},
        {"tokens_per_minute": "many", "tokens": len},
        {"tokens_per_minute": 5},
        {"tokens": len},
    ],
)
def test_limits_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Limits(**options)


def httpx_error(status: int, headers: dict[str, str]) -> BaseException:
    request = httpx.Request("GET", "http://host/")
    response = httpx.Response(status, headers=headers, request=request)
    return httpx.HTTPStatusError("failed", request=request, response=response)


class StatusError(Exception):
    """As aiohttp has it."""

    def __init__(self, status: int, headers: dict[str, str] | None) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers


def in_seconds(seconds: int) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("make", [httpx_error, StatusError])
@pytest.mark.parametrize(
    ("status", "headers", "overload"),
    [
        (429, {}, Overload()),
        (500, {}, Overload()),
        (503, {"retry-after": "3"}, Overload(retry_after_seconds=3)),
        (429, {"Retry-After": "1.5"}, Overload(retry_after_seconds=1.5)),
        (429, {"Retry-After": in_seconds(90)}, Overload(retry_after_seconds=90)),
        (429, {"Retry-After": in_seconds(-90)}, Overload()),
        (429, {"Retry-After": "soon"}, Overload()),
        (429, {"Retry-After": "nan"}, Overload()),
        (404, {"Retry-After": "3"}, None),
    ],
)
def test_what_an_answer_says_of_the_host(
    make: Callable[[int, dict[str, str]], BaseException],
    status: int,
    headers: dict[str, str],
    overload: Overload | None,
) -> None:
    assert find_overload(make(status, headers), NOW) == overload


@pytest.mark.parametrize(
    ("error", "is_overload"),
    [
        (httpx.ConnectError("refused"), True),
        (httpx.RemoteProtocolError("gone"), True),
        (httpx.ReadTimeout("slow"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (StatusError(500, None), True),
        (ValueError("not JSON"), False),
        (httpx.InvalidURL("bad"), False),
    ],
)
def test_what_a_failure_says_of_the_host(error: BaseException, is_overload: bool) -> None:
    assert (find_overload(error, NOW) is not None) == is_overload
