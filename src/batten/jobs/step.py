"""One function of a pipeline and how it is called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from batten.errors import usage_error
from batten.jobs.devices import Devices, read_devices
from batten.jobs.retry import Retry, RetryOn, read_retry_on
from batten.model.value_class import value_class

if TYPE_CHECKING:
    from batten.cache.cache import Cache
    from batten.executors.call_rates import Limits
    from batten.jobs.batch_api import BatchApi
    from batten.jobs.model_server import ModelServer

StepKind = Literal["map", "flat_map", "filter", "check", "map_batches", "apply"]

DEFAULT_CONCURRENCY = 100
"""Calls of a function that awaits at a time, where the job does not say."""


@value_class
class Step:
    """`concurrency` is how many calls are in hand at a time, in the event loop or in workers of the
    step's own; `devices` is what those compute on. `limits` are for functions that await. One call
    gets rows of `tokens_max` tokens at most, as `tokens` counts them. A `cache` changes no result,
    so it is no part of the fingerprint. With `keeps_input`, rows have the item's columns, too. With
    a `batch_api` a vendor's batches take the place of calls. A
    `server` is started for it."""

    kind: StepKind
    function: Callable[..., Any] = field(repr=False)
    retries: int = 0
    retry_on: tuple[RetryOn, ...] | None = None
    timeout_seconds: float | None = None
    concurrency: int | None = None
    limits: Limits | None = None
    devices: Devices | None = None
    items: int | None = None
    tokens_max: int | None = None
    tokens: Callable[[Any], float] | None = field(default=None, repr=False)
    version: str | None = None
    cache: Cache | None = None
    keeps_input: bool = False
    batch_api: BatchApi | None = None
    server: ModelServer | None = None

    @property
    def making_rows(self) -> Callable[..., Any]:
        """The function whose annotation says what the rows are."""
        api = self.batch_api
        return self.function if api is None else (api.parse or api.request)

    @property
    def is_async(self) -> bool:
        """Whether the function is to be awaited: `async def`, or an object that is called so."""
        function: Any = self.function
        while isinstance(function, functools.partial):
            function = function.func
        return _awaits(function) or _awaits(getattr(function, "__call__", None))  # noqa: B004

    @property
    def has_own_workers(self) -> bool:
        """Whether other workers call the function than those that have the items in hand."""
        return not self.is_async and (self.concurrency is not None or self.devices is not None)

    @property
    def retry(self) -> Retry:
        """When a call that failed is made again."""
        return Retry(tries=self.retries + 1, wanted=self.retry_on)

    @property
    def calls_max(self) -> int:
        return self.concurrency or DEFAULT_CONCURRENCY


def _awaits(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _check_server(server: object) -> None:
    if server is None:
        return
    from batten.jobs.model_server import ModelServer

    if not isinstance(server, ModelServer):
        raise usage_error(f"server is {server!r}.", "Give a batten.ModelServer.")


def make_step(kind: StepKind, function: Callable[..., Any], **options: Any) -> Step:
    """The step; raises `UsageError` for what can't be."""
    if not callable(function):
        raise usage_error(
            f".{kind}() takes a function, not {type(function).__name__}.",
            f"Give the function itself, without calling it: .{kind}(measure).",
        )
    check_count("retries", options.get("retries", 0), at_least=0)
    options["retry_on"] = read_retry_on(options.get("retry_on"), options.get("retries", 0))
    options["devices"] = read_devices(options.get("devices"))
    step = Step(kind=kind, function=function, **options)
    if step.items is not None:
        check_count("items", step.items, at_least=1)
    if (step.tokens_max is None) != (step.tokens is None):
        raise usage_error(
            "tokens_max= and tokens= need each other.",
            "Say how many tokens a row has: tokens=lambda row: len(row['text']) // 4.",
        )
    if step.tokens_max is not None:
        check_count("tokens_max", step.tokens_max, at_least=1)
    if step.concurrency is not None:
        check_count("concurrency", step.concurrency, at_least=1)
    timeout: Any = step.timeout_seconds
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise usage_error(
            f"timeout_seconds is {timeout!r}.", "Give a number of seconds above zero."
        )
    if step.is_async and kind == "map_batches":
        raise usage_error(
            ".map_batches() can't await a function.",
            "Take the items one at a time: .map() with an async function.",
        )
    if not step.is_async and step.limits is not None:
        raise usage_error(
            "limits= are for `async def` functions.",
            "For others say how many calls are in hand at a time: concurrency=.",
        )
    _check_server(step.server)
    if not step.is_async and step.server is not None:
        raise usage_error(
            "server= is for `async def` functions.",
            "Call the server in an `async def` function: many calls are in flight then.",
        )
    if step.is_async and step.devices is not None:
        raise usage_error(
            "devices= are for functions that don't await.", "Make it a class with a plain __call__."
        )
    return step


def check_steps(steps: tuple[Step, ...]) -> None:
    """Raises `UsageError` for steps that can't be run together."""
    if not any(step.is_async for step in steps):
        return
    for step in steps:
        if step.kind == "map_batches":
            raise usage_error(
                ".map_batches() can't stand in a pipeline with an async function.",
                "Make a dataset with the one, and from it another with the other.",
            )
        if step.has_own_workers:
            raise usage_error(
                "A step with workers of its own can't stand beside an async function.",
                "Make a dataset with the one, and from it another with the other.",
            )
        if step.timeout_seconds is not None and not step.is_async:
            raise usage_error(
                "timeout_seconds= can't be kept for a plain function beside an async one.",
                "Make it `async def`, or leave the time limit out.",
            )


def check_count(name: str, value: object, *, at_least: int, at_most: int | None = None) -> None:
    """Raises `UsageError` if the value is not such a whole number."""
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise usage_error(f"{name} is {value!r}.", f"Give a whole number of at least {at_least}.")
    if at_most is not None and value > at_most:
        raise usage_error(f"{name} is {value!r}.", f"Give a whole number of at most {at_most}.")
