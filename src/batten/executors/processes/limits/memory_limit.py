"""How much memory a worker uses, and whether that is too much.

The kernel's own limits count what is reserved, not what is used, or hold for a whole container. So
it is looked at from outside, often enough that little is taken between two looks.
"""

from __future__ import annotations

import os

from batten.model.telling.sizes import show_bytes

LOOK_SECONDS = 0.05


def tell_excess(pid: int, bytes_max: int) -> str:
    """What became of a worker that is killed for using too much; nothing if it does not."""
    used = measure_memory(pid)
    if used <= bytes_max:
        return ""
    return f"was killed at {show_bytes(used)} of memory (memory_max is {show_bytes(bytes_max)})"


def measure_memory(pid: int) -> int:
    """The bytes in memory of the process and of all that descend from it; 0 where it has ended.
    What several of them share is counted for each."""
    return _own_memory(pid) + sum(measure_memory(child) for child in _list_children(pid))


def _own_memory(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _list_children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                children += map(int, file.read().split())
    except OSError:
        return children
    return children
