"""What an exception of a client tells of the server's answer.

Clients differ, so an answer is known by what the exception carries. No client is imported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

_CAUSES_MAX = 10

_CONNECTION_ERRORS = frozenset({"TransportError", "ClientConnectionError", "APIConnectionError"})
"""What httpx, aiohttp and openai call theirs; not all of them derive from `ConnectionError`."""


def find_status(error: BaseException) -> int | None:
    """The status of the answer that the exception stands for, or the exception that it was raised
    `from`. None if there was no answer, or if its status is no failure (400 to 599)."""
    for each in _causes(error):
        status = _own_status(each)
        if status is not None:
            return status
    return None


def find_retry_after(error: BaseException, wall_clock: datetime) -> float | None:
    """The seconds that the server asked to wait, whether it gave a number or a date."""
    for each in _causes(error):
        for holder in (getattr(each, "response", None), each):
            headers = _get(holder, "headers")
            seconds = _read_retry_after(headers, wall_clock) if headers is not None else None
            if seconds is not None:
                return seconds
    return None


def is_of_connection(error: BaseException) -> bool:
    """Whether the connection broke, or took too long."""
    return isinstance(error, ConnectionError | TimeoutError) or any(
        kind.__name__ in _CONNECTION_ERRORS for kind in type(error).__mro__
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it was raised `from`. What merely happened before it is not meant."""
    each: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if each is None:
            return
        yield each
        each = each.__cause__


def _own_status(error: BaseException) -> int | None:
    if isinstance(error, SystemExit):
        return None
    response = getattr(error, "response", None)
    told = _get(response, "ResponseMetadata")
    for holder, names in (
        (response, ("status_code", "status")),
        (told, ("HTTPStatusCode",)),
        (error, ("status_code", "status", "code")),
    ):
        for name in names:
            status = _get(holder, name)
            if isinstance(status, int) and 400 <= status <= 599:
                return int(status)
    return None


def _get(holder: Any, name: str) -> Any:
    if isinstance(holder, Mapping):
        return holder.get(name)
    return getattr(holder, name, None)


def _read_retry_after(headers: Any, wall_clock: datetime) -> float | None:
    if not hasattr(headers, "get"):
        return None
    text = str(headers.get("retry-after") or headers.get("Retry-After") or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            seconds = (parsedate_to_datetime(text) - wall_clock).total_seconds()
        except (ValueError, TypeError):
            return None
    return seconds if 0 <= seconds < math.inf else None
