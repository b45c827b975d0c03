"""Which items of a batch staged chunks hold, and which of the chunks to take.

The names of chunks tell it, also where calls ended in any order (decision 0011).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from batten.model.disk.staged_names import StagedChunk


def choose_cover(
    chunks: Iterable[StagedChunk], items: int
) -> tuple[list[StagedChunk], list[tuple[int, int]]]:
    """Chunks that share no item, chosen from the first item on, those with most items first; and
    the ranges of items that none of them holds."""
    cover: list[StagedChunk] = []
    held = bytearray(items)
    for chunk in sorted(chunks, key=lambda c: (c.start, -c.items)):
        ranges = list(chunk.ranges())
        if chunk.start < chunk.stop <= items and not any(1 in held[a:b] for a, b in ranges):
            cover.append(chunk)
            for start, stop in ranges:
                held[start:stop] = b"\1" * (stop - start)
    return cover, _find_runs(held, 0)


def find_within(
    chunks: Iterable[StagedChunk], ranges: Sequence[tuple[int, int]]
) -> list[StagedChunk]:
    """The chunks all of whose items lie in these ranges."""
    return [
        chunk
        for chunk in chunks
        if all(any(a <= start and stop <= b for a, b in ranges) for start, stop in chunk.ranges())
    ]


def count_items(chunks: Iterable[StagedChunk], items: int) -> int:
    """How many items of a batch any of the chunks holds."""
    held = bytearray(items)
    for start, stop in (each for chunk in chunks for each in chunk.ranges()):
        held[start:stop] = b"\1" * len(held[start:stop])
    return held.count(1)


def mark_items(items: Sequence[int]) -> tuple[int, int, int | None]:
    """The `start`, `stop` and `some` of a chunk that holds these items, which are in order."""
    start, stop = items[0], items[-1] + 1
    if len(items) == stop - start:
        return start, stop, None
    some = 0
    for item in items:
        some |= 1 << (item - start)
    return start, stop, some


def split_items(
    wanted: Iterable[int], items: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The ranges of the wanted items of a batch of so many, and those of all others."""
    marks = bytearray(items)
    for item in wanted:
        marks[item] = 1
    return _find_runs(marks, 1), _find_runs(marks, 0)


def _find_runs(marks: bytearray, mark: int) -> list[tuple[int, int]]:
    runs = []
    start = marks.find(mark)
    while start >= 0:
        end = marks.find(1 - mark, start)
        runs.append((start, end if end >= 0 else len(marks)))
        start = marks.find(mark, end) if end >= 0 else -1
    return runs
