"""How a step hands its requests to a vendor's batch interface."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any
from urllib.parse import urlsplit

from batten.errors import UsageError, usage_error
from batten.fingerprint.secret import Secret
from batten.jobs.structure import Structure
from batten.model.value_class import value_class

REQUESTS_MAX = 50_000
"""What OpenAI takes in one batch."""

CONCURRENCY_MAX = 250_000

POLL_SECONDS = 60.0


@value_class
class BatchApi:
    """Where the requests of a step go, and how. What changes its rows is `request`, `parse` and
    `endpoint` alone. `usage` says what an answer used; None for the usual."""

    request: Callable[..., Any] = field(repr=False)
    parse: Callable[..., Any] | None = field(repr=False)
    base_url: str
    endpoint: str
    api_key: Secret | None = None
    completion_window: str = "24h"
    max_requests: int = REQUESTS_MAX
    poll_seconds: float = POLL_SECONDS
    wait_seconds: float | None = None
    usage: Callable[[Any], Mapping[str, Any]] | None = field(default=None, repr=False)

    @property
    def structure(self) -> Structure | None:
        """What answers are to be, where a model says it; then nothing else parses them."""
        found: Structure | None = getattr(self.request, "structure", None)
        return found

    @property
    def place(self) -> tuple[str, str]:
        """Steps of one place share what they submit."""
        return self.base_url, self.endpoint

    @property
    def function(self) -> Callable[..., Any]:
        """What the fingerprint of the step is made of."""
        return functools.partial(answer_in_batch, self.request, self.parse, self.endpoint)


async def answer_in_batch(request: Any, parse: Any, endpoint: str, row: Any) -> Any:
    """Stands for the step wherever there is no run to hand requests in."""
    raise UsageError(
        ".map_batch_api() can't be called outside of a run.",
        safe="Nothing was asked.",
        next="Try request_fn and parse by themselves, with an answer that you have.",
    )


def make_batch_api(**given: Any) -> BatchApi:
    """Raises `UsageError` for what can't be."""
    is_structured = getattr(given["request"], "structure", None) is not None
    if is_structured != (given["parse"] is None):
        raise usage_error(
            ".map_batch_api() takes parse, or a request of batten.structured() that reads answers "
            "itself: one of them.",
            "Say how an answer becomes a row: parse=parse.",
        )
    for name in ("request", "usage") if is_structured else ("request", "parse", "usage"):
        if not callable(given[name]) and not (name == "usage" and given[name] is None):
            raise usage_error(
                f".map_batch_api() takes a function for {name}, not {given[name]!r}.",
                "Give the function itself, without calling it.",
            )
        if name != "parse" and inspect.iscoroutinefunction(given[name]):
            raise usage_error(
                f".map_batch_api() can't await {name}.",
                "Make it a plain function. What has to be awaited is done by a .map() before.",
            )
        if isinstance(given[name], type):
            raise usage_error(
                f".map_batch_api() takes no class for {name}.",
                "Give a function, or an object of the class.",
            )
    key = given["api_key"]
    if key is not None and not isinstance(key, Secret):
        raise usage_error(
            "api_key is no batten.Secret.",
            'Put the key into an environment variable, and name that: batten.Secret("API_KEY").',
        )
    for name in ("poll_seconds", "wait_seconds"):
        value = given[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None and name == "wait_seconds":
            continue
        if not is_number or not math.isfinite(value) or value < 0:
            raise usage_error(f"{name} is {value!r}.", "Give a number of seconds from 0 on.")
    given["base_url"] = _read_base_url(given["base_url"])
    endpoint = given["endpoint"]
    if not isinstance(endpoint, str) or re.fullmatch(r"/[\w./-]{1,200}", endpoint) is None:
        raise usage_error(
            f"endpoint is {endpoint!r}.", 'Give a path, such as "/v1/chat/completions".'
        )
    return BatchApi(**given)


def _read_base_url(text: object) -> str:
    """It is kept in records, so it may hold no secret."""
    parts = urlsplit(text) if isinstance(text, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise usage_error(
            "base_url is no address of a server.", 'Give one like "https://api.openai.com/v1".'
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise usage_error(
            "base_url has more than a server and a path.",
            'Give the key as api_key=batten.Secret("API_KEY"), and the address without it.',
        )
    return str(text).rstrip("/")
