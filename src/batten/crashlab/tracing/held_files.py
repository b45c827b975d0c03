"""The files that a process holds open, which its forks hold, too."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_FIRST = 3  # after input, output and errors
_DESCRIPTORS = 1 << 20  # more than a process can have


def list_open_files() -> dict[int, str]:
    """Their names by descriptor, without input, output, errors, and what libraries hold."""
    return {number: name for number, name in _list_all().items() if number not in of_libraries()}


@cache
def of_libraries() -> frozenset[int]:
    """Descriptors of the files that libraries were loaded from, as libffi holds its own. Nobody
    reads on in them, and a new Python would hold them, too. Looked for once, before all forks."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    loaded = {each.split(maxsplit=5)[-1] for each in maps.splitlines()}
    return frozenset(number for number, name in _list_all().items() if name in loaded)


def close_files() -> None:
    """All of them but those of libraries."""
    after = _FIRST
    for kept in sorted(of_libraries()):
        os.closerange(after, kept)
        after = kept + 1
    os.closerange(after, _DESCRIPTORS)


def _list_all() -> dict[int, str]:
    found = {}
    for number in map(int, os.listdir("/proc/self/fd")):
        path = f"/proc/self/fd/{number}"
        if number >= _FIRST and os.path.lexists(path):  # that of the list itself is closed
            found[number] = os.readlink(path)
    return found
