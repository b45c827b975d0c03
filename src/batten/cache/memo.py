"""A function whose results are kept."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from batten.errors import usage_error
from batten.model.annotations import signature_of


class Keeper(Protocol):
    """What is asked of the cache."""

    def get_or_compute(self, key: Any, compute: Callable[[], Any]) -> Any: ...

    def get_or_await(self, key: Any, compute: Callable[[], Awaitable[Any]]) -> Awaitable[Any]: ...


def remember(cache: Keeper, function: Callable[..., Any]) -> Callable[..., Any]:
    """See `Cache.memo`."""
    if not callable(function):
        raise usage_error(
            f"cache.memo() takes a function, not {type(function).__name__}.",
            "Give the function itself, without calling it.",
        )
    try:
        signature = signature_of(function)
    except ValueError as error:
        raise usage_error(
            f"cache.memo() can't see the names of the arguments of {function!r}.",
            "Give a function of Python that calls it.",
        ) from error

    def make_key(arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        bound = signature.bind(*arguments, **named)
        bound.apply_defaults()
        return (function, bound.arguments)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*arguments: Any, **named: Any) -> Any:
            return await cache.get_or_await(
                make_key(arguments, named), lambda: function(*arguments, **named)
            )

        return call_async

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        key = make_key(arguments, named)
        return cache.get_or_compute(key, lambda: function(*arguments, **named))

    return call
