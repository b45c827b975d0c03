"""Where a cache lies when nobody says it, and whether caches are to be used at all."""

from __future__ import annotations

import os

from batten.storage.local.user_caches import user_caches

FOLDER_VARIABLE = "BATTEN_CACHE_DIR"
DISABLE_VARIABLE = "BATTEN_DISABLE_CACHE"


def default_folder() -> str:
    """`BATTEN_CACHE_DIR`, or else `batten` among the user's caches."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return chosen
    return os.path.join(user_caches(), "batten")


def is_disabled() -> bool:
    """Whether `BATTEN_DISABLE_CACHE` says so: any text but "" and "0"."""
    return os.environ.get(DISABLE_VARIABLE, "") not in ("", "0")
