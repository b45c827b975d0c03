"""When a tree of processes has had its time: not a busy machine's, but its own.

On a machine that is overrun a tree may wait for a processor far longer than it works. It is no
judgement on it that it has not ended by then. So what is counted is the time in which nothing of it
could run, since all waited for something else, and the time that it spent running.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from batten.model.value_class import value_class

TICK_SECONDS = 0.5
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_WAITS = frozenset("SZXIT")
"""States in which a thread waits for something else than a processor, a disk or its tracer."""


@value_class
class TreeSeen:
    """What the threads of a tree were at one moment: whether one could have run, and the seconds
    that each of its processes had run."""

    could_run: bool
    seconds: Mapping[int, float]


class Patience:
    """Told at each tick, which come `tick_seconds` apart or later."""

    def __init__(self, seconds: float, tick_seconds: float) -> None:
        self._left = seconds
        self._tick_seconds = tick_seconds
        self._before: Mapping[int, float] = {}

    def is_over(self, seen: TreeSeen) -> bool:
        ran = sum(
            max(0.0, now - self._before.get(process, 0.0)) for process, now in seen.seconds.items()
        )
        self._before = seen.seconds
        self._left -= min(ran, self._tick_seconds) if seen.could_run else self._tick_seconds
        return self._left <= 0


def look_at(threads: Mapping[int, int]) -> TreeSeen:
    """`threads` are those of a tree, each with its process."""
    could_run = False
    seconds: dict[int, float] = {}
    for thread, process in threads.items():
        # It may have ended since it was listed.
        with suppress(OSError):
            told = Path(f"/proc/{process}/task/{thread}/stat").read_text("ascii", "replace")
            fields = told.rpartition(")")[2].split()
            could_run = could_run or fields[0] not in _WAITS
            whole = Path(f"/proc/{process}/stat").read_text("ascii", "replace")
            times = whole.rpartition(")")[2].split()[11:15]
            seconds[process] = sum(map(int, times)) / _CLOCK_TICKS
    return TreeSeen(could_run=could_run, seconds=seconds)
