"""What time a page says that it is of."""

from __future__ import annotations

from datetime import UTC, datetime


def tell_time() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
