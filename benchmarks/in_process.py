"""Times two functions in turn within one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from benchmarks.measure import Figure, median_ratio


def compare_calls(
    what: str,
    limit: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    pairs: int,
    calls: int = 1,
) -> Figure:
    """The ratio of `ours` to `theirs`, each called `calls` times in a row, in `pairs` pairs, after
    one that is not counted."""
    _take_seconds(ours, calls)
    _take_seconds(theirs, calls)
    taken = [(_take_seconds(ours, calls), _take_seconds(theirs, calls)) for _ in range(pairs)]
    our_seconds, their_seconds = [pair[0] for pair in taken], [pair[1] for pair in taken]
    return Figure(
        what=what,
        figure=f"{median_ratio(our_seconds, their_seconds):.2f}",
        limit=limit,
        basis=f"{_tell(our_seconds, calls)} against {_tell(their_seconds, calls)}",
    )


def _take_seconds(function: Callable[[], object], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        function()
    return time.perf_counter() - began


def _tell(seconds: list[float], calls: int) -> str:
    return f"{median(seconds) / calls * 1e6:,.1f} µs (best {min(seconds) / calls * 1e6:,.1f})"
