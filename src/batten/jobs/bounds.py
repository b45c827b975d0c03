"""What a run is given by its user, read and checked: memory, time, a file for metrics."""

from __future__ import annotations

import os

from batten.errors import usage_error
from batten.model.telling.sizes import parse_bytes
from batten.storage.addresses import local_path

_SECONDS_MAX = 10**9
"""Thirty years: no system waits much longer."""


def read_memory_max(given: int | str | None) -> int | None:
    """The bytes; raises `UsageError` for what is no size."""
    if given is None:
        return None
    try:
        size = parse_bytes(str(given))
    except ValueError:
        size = 0
    if size < 1:
        raise usage_error(f"memory_max is {given!r}.", 'Give bytes or a size: memory_max="2GB".')
    return size


def check_seconds(name: str, given: object) -> float:
    """The seconds; raises `UsageError` for what is no time."""
    if not isinstance(given, int | float) or not 0 <= given <= _SECONDS_MAX:
        raise usage_error(f"{name} is {given!r}.", f"Give seconds, from 0 to {_SECONDS_MAX:,}.")
    return float(given)


def read_metrics_path(given: str | os.PathLike[str] | None) -> str | None:
    """The path; raises `UsageError` for what can be none."""
    if given is None:
        return None
    path = local_path(given)
    if not path or "\0" in path:
        raise usage_error(f"metrics is {path!r}.", 'Name a file: metrics="batten.prom".')
    return path


def check_choice(name: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    """Raises `UsageError` if the value is none of them."""
    if value not in allowed:
        raise usage_error(f"{name} is {value!r}.", f"Say one of {', '.join(map(str, allowed))}.")
