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
    _take(ours, calls)
    _take(theirs, calls)
    taken = [(_take(ours, calls), _take(theirs, calls)) for _ in range(pairs)]
    our_seconds, their_seconds = ([pair[side][0] for pair in taken] for side in (0, 1))
    our_processor, their_processor = ([pair[side][1] for pair in taken] for side in (0, 1))
    return Figure(
        what=what,
        figure=f"{median_ratio(our_seconds, their_seconds):.2f}",
        limit=limit,
        basis=f"{_tell(our_seconds, calls)} against {_tell(their_seconds, calls)}",
        processor=f"{median_ratio(our_processor, their_processor):.2f}",
    )


def _take(function: Callable[[], object], calls: int) -> tuple[float, float]:
    """Seconds, and seconds on the processor."""
    began, on_processor = time.perf_counter(), time.process_time()
    for _ in range(calls):
        function()
    return time.perf_counter() - began, time.process_time() - on_processor


def _tell(seconds: list[float], calls: int) -> str:
    return f"{median(seconds) / calls * 1e6:,.1f} µs (best {min(seconds) / calls * 1e6:,.1f})"
