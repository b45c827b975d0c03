"""Where a user's programs keep what can be made again."""

from __future__ import annotations

import os


def user_caches() -> str:
    """`XDG_CACHE_HOME`, or else `~/.cache`."""
    return os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
