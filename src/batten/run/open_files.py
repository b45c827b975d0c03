"""How many files a run may have open: as many as this user may allow it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress

OPEN_FILES_MAX = 1 << 20
"""Some programs look through all numbers up to the limit, and there are limits of billions."""


@contextmanager
def open_files_raised() -> Iterator[None]:
    """While entered, the soft limit is the hard one. Workers that are started meanwhile inherit
    it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_MAX)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
