"""When a call that failed is tried again, and after how long; the same for all kinds of functions.
No clock runs here: pauses are taken down, and times are passed in."""

from __future__ import annotations

import asyncio
import time
import urllib.error
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

import batten
from batten.errors import UsageError
from batten.executors.marks import MarkTable, SlotMark
from batten.jobs.retry import PAUSE_SECONDS_MAX, Retry
from batten.work.calling.async_calls import AsyncCall
from batten.work.calling.calls import Call, Failure, ItemFailedError

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)


def policy(tries: int = 100, wanted: Any = None, draw: float = 1.0) -> Retry:
    return Retry(tries=tries, wanted=wanted, draw=lambda: draw, clock=lambda: NOW)


def of_httpx(status: int, headers: dict[str, str]) -> Exception:
    request = httpx.Request("GET", "http://host/")
    response = httpx.Response(status, headers=headers, request=request)
    return httpx.HTTPStatusError("failed", request=request, response=response)


class OwnStatusError(Exception):
    """`carries(status=401)`: as aiohttp, openai, google and others have it."""


def carries(**names: Any) -> Callable[[int, dict[str, str]], Exception]:
    def make(status: int, headers: dict[str, str]) -> Exception:
        error = OwnStatusError("failed")
        for name, make_value in names.items():
            setattr(error, name, make_value(status, headers))
        return error

    return make


class Answer:
    def __init__(self, name: str, status: int, headers: dict[str, str]) -> None:
        setattr(self, name, status)
        self.headers = headers


def of_urllib(status: int, headers: dict[str, str]) -> Exception:
    message = Message()
    for name, value in headers.items():
        message[name] = value
    return urllib.error.HTTPError("http://host/", status, "failed", message, None)


def wrapped(status: int, headers: dict[str, str]) -> Exception:
    try:
        raise RuntimeError("the model gave no answer") from of_httpx(status, headers)
    except RuntimeError as error:
        return error


def status_of(status: int, headers: dict[str, str]) -> int:
    return status


def headers_of(status: int, headers: dict[str, str]) -> dict[str, str]:
    return headers


CLIENTS = {
    "httpx": of_httpx,
    "requests": carries(response=lambda s, h: Answer("status_code", s, h)),
    "aiohttp": carries(status=status_of, headers=headers_of),
    "openai": carries(status_code=status_of, response=lambda s, h: Answer("status_code", s, h)),
    "google": carries(code=status_of, headers=headers_of),
    "urllib": of_urllib,
    "urllib3": carries(response=lambda s, h: Answer("status", s, h)),
    "botocore": carries(
        response=lambda s, h: {"ResponseMetadata": {"HTTPStatusCode": s}, "headers": h}
    ),
    "wrapped by the job": wrapped,
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("status", "is_passing"),
    [(status, False) for status in (400, 401, 402, 403, 404, 405, 410, 413, 415, 422, 451)]
    + [(status, True) for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)],
)
def test_what_is_refused_for_good_is_not_tried_again(
    client: str, status: int, is_passing: bool
) -> None:
    assert policy().is_passing(CLIENTS[client](status, {})) is is_passing


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refusal_that_says_for_how_long_is_tried_again(client: str) -> None:
    error = CLIENTS[client](403, {"Retry-After": "7"})
    assert policy().find_pause(error, 1) == 7


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the model's answer was cut off"),
        ConnectionResetError(),
        TimeoutError(),
        BrokenPipeError(),
        KeyError("answer"),
        TypeError(),
        SystemExit(401),
        carries(code=lambda s, h: "invalid_api_key")(0, {}),
        carries(code=lambda s, h: lambda: 404)(0, {}),
        carries(status=status_of)(200, {}),
        carries(code=status_of)(4, {}),
    ],
)
def test_everything_else_is_tried_again(error: BaseException) -> None:
    assert policy().is_passing(error)


def test_what_merely_happened_before_says_nothing() -> None:
    error = ConnectionResetError("the fallback failed, too")
    error.__context__ = of_httpx(404, {})
    assert policy().is_passing(error)


def is_busy(error: BaseException) -> bool:
    return "busy" in str(error)


@pytest.mark.parametrize(
    ("retry_on", "error", "is_passing"),
    [
        (ConnectionError, ConnectionResetError(), True),
        (ConnectionError, ValueError(), False),
        ((ConnectionError, 503), of_httpx(503, {}), True),
        ((ConnectionError, 503), of_httpx(502, {}), False),
        (404, of_httpx(404, {}), True),
        ([404], of_httpx(401, {}), False),
        (is_busy, ValueError("busy"), True),
        (is_busy, ValueError("gone"), False),
        ((is_busy, KeyError), KeyError(), True),
        ((), ValueError(), False),
    ],
)
def test_what_the_job_says_is_tried_again(
    retry_on: Any, error: Exception, is_passing: bool
) -> None:
    step = batten.from_range(1).map(str, retries=2, retry_on=retry_on).steps[0]
    assert step.retry.is_passing(error) is is_passing


@pytest.mark.parametrize("retry_on", ["429", 42, True, ValueError(), (ConnectionError, "503"), int])
def test_what_can_not_be_tried_on(retry_on: Any) -> None:
    with pytest.raises(UsageError, match="retry_on has"):
        batten.from_range(1).map(str, retries=2, retry_on=retry_on)


def test_nothing_is_tried_again_without_retries() -> None:
    with pytest.raises(UsageError, match="retries is 0"):
        batten.from_range(1).map(str, retry_on=ConnectionError)


@pytest.mark.parametrize(
    ("draw", "pauses"), [(0.0, [0.05, 0.1, 0.2, 0.4]), (1.0, [0.1, 0.2, 0.4, 0.8])]
)
def test_pauses_double_and_are_drawn_at_random(draw: float, pauses: list[float]) -> None:
    """So that calls which failed together are not repeated together."""
    retry = policy(draw=draw)
    assert [retry.find_pause(OSError(), attempt) for attempt in (1, 2, 3, 4)] == pauses
    assert retry.find_pause(OSError(), 99) == PAUSE_SECONDS_MAX * (1 + draw) / 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        ("0.01", 0.1),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.1),
        ("soon", 0.1),
        ("-3", 0.1),
        ("inf", 0.1),
    ],
)
def test_the_server_gets_the_pause_that_it_asks_for(text: str, seconds: float) -> None:
    assert policy().find_pause(of_httpx(429, {"retry-after": text}), 1) == seconds


@pytest.mark.parametrize("tries", [1, 2, 5])
def test_the_last_try_is_the_last(tries: int) -> None:
    pauses = [policy(tries).find_pause(OSError(), attempt) for attempt in range(1, tries + 1)]
    assert [pause is None for pause in pauses] == [False] * (tries - 1) + [True]


@pytest.mark.parametrize(
    ("options", "tries"),
    [
        ({}, 1),
        ({"retries": 2}, 3),
        ({"retries": 2, "retry_on": TimeoutError}, 3),
        ({"retries": 2, "retry_on": 503}, 1),
    ],
)
def test_what_takes_too_long_is_tried_as_often(options: dict[str, Any], tries: int) -> None:
    """Of the steps with a limit, the one that allows the most."""
    pipeline = batten.from_range(1).map(str, retries=9).map(int, timeout_seconds=1, **options)
    assert pipeline.tries_max == tries


class Failing:
    """Fails so often, each time with this, and takes down what was done meanwhile."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error = error
        self.left = times
        self.done: list[Any] = []

    def call(self, item: int) -> dict[str, int]:
        self.done.append("call")
        if self.left:
            self.left -= 1
            raise self.error
        return {"item": item}

    async def call_async(self, item: int) -> dict[str, int]:
        return self.call(item)

    def pause(self, seconds: float) -> None:
        self.done.append(seconds)

    async def pause_async(self, seconds: float) -> None:
        self.done.append(seconds)


def run_plain(failing: Failing, options: dict[str, Any]) -> Any:
    call = Call(batten.from_range(1).map(failing.call, **options).steps[0])
    call.begin_try = lambda limit: failing.done.append(f"limit {limit:g}")
    return call.run(0)


def run_async(failing: Failing, options: dict[str, Any]) -> Any:
    step = batten.from_range(1).map(failing.call_async, concurrency=1, **options).steps[0]
    place = SlotMark(MarkTable(1).records[0])

    async def run() -> Any:
        return await AsyncCall(step, asyncio.Event()).run(0, 0, place, None)

    with asyncio.Runner() as runner:
        return runner.run(run())


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Callable[[Failing], None]:
    def take_down(failing: Failing) -> None:
        monkeypatch.setattr(time, "sleep", failing.pause)
        monkeypatch.setattr(asyncio, "sleep", failing.pause_async)

    return take_down


def calls(failing: Failing) -> int:
    return failing.done.count("call")


@pytest.mark.parametrize("run", [run_plain, run_async])
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_each_item_has_as_many_tries_as_the_job_says(
    run: Callable[[Failing, Any], Any], retries: int, pauses: Callable[[Failing], None]
) -> None:
    failing = Failing(ValueError("no"), times=99)
    pauses(failing)
    with pytest.raises(ItemFailedError) as caught:
        run(failing, {"retries": retries})
    assert calls(failing) == retries + 1
    assert caught.value.at(7) == Failure(
        item=7, error="ValueError: no", trace=caught.value.trace, attempts=retries + 1
    )

    failing = Failing(ValueError("no"), times=retries)
    pauses(failing)
    assert run(failing, {"retries": retries}) == {"item": 0}
    assert calls(failing) == retries + 1


@pytest.mark.parametrize("run", [run_plain, run_async])
def test_a_wrong_key_costs_one_call(
    run: Callable[[Failing, Any], Any], pauses: Callable[[Failing], None]
) -> None:
    failing = Failing(of_httpx(401, {}), times=99)
    pauses(failing)
    with pytest.raises(ItemFailedError) as caught:
        run(failing, {"retries": 5})
    assert (calls(failing), caught.value.attempts) == (1, 1)


@pytest.mark.parametrize("run", [run_plain, run_async])
def test_a_policy_of_the_job_that_fails_is_the_items_failure(
    run: Callable[[Failing, Any], Any], pauses: Callable[[Failing], None]
) -> None:
    failing = Failing(ValueError("no"), times=99)
    pauses(failing)
    with pytest.raises(ItemFailedError, match="ZeroDivisionError"):
        run(failing, {"retries": 5, "retry_on": lambda error: 1 // 0})
    assert calls(failing) == 1


@pytest.mark.parametrize("run", [run_plain, run_async])
def test_between_tries_it_waits_as_the_policy_says(
    run: Callable[[Failing, Any], Any], pauses: Callable[[Failing], None]
) -> None:
    failing = Failing(ValueError("no"), times=2)
    pauses(failing)
    run(failing, {"retries": 2})
    first, second = [each for each in failing.done if isinstance(each, float)]
    assert 0.05 <= first <= 0.1 <= second <= 0.2


def test_a_pause_is_no_part_of_a_try(pauses: Callable[[Failing], None]) -> None:
    """Else an item whose limit is shorter than the pause would be killed in it."""
    failing = Failing(of_httpx(429, {"retry-after": "60"}), times=1)
    pauses(failing)
    run_plain(failing, {"retries": 1, "timeout_seconds": 5})
    assert failing.done == ["limit 5", "call", "limit inf", 60.0, "limit 5", "call"]
