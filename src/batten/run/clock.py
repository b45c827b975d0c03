"""The wall clock, for records and messages; never for decisions."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utc_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_now_exact() -> str:
    """To the microsecond: no two datasets of one machine were created at the same."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def now_ns() -> int:
    """Nanoseconds since 1970."""
    return time.time_ns()


def new_run() -> str:
    """A name for the run that begins now."""
    return name_run(datetime.now(UTC))


def name_run(began: datetime) -> str:
    """Names sort by time, also within a second: after it come its 65,536ths, in hexadecimal. No two
    runs of one output have the same, since each takes longer than that."""
    return f"{began:%Y%m%dT%H%M%SZ}-{began.microsecond * 65_536 // 1_000_000:04x}"
