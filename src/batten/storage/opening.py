"""Opening to read what should be a file: at once, also where a pipe lies in its place. In the usual
way that would wait for somebody who writes to it."""

from __future__ import annotations

import os

READ_AT_ONCE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def open_at_once(path: str, flags: int) -> int:
    """For `open(…, opener=open_at_once)`."""
    return os.open(path, flags | os.O_NONBLOCK)
