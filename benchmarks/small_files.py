"""Small files, one an item: written, synced and in the accounts."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import BATTEN, PYTHON, Figure, Side, compare, fresh, put_job

FILES = 100_000
FEWER = 10_000
"""Of so many files more pairs can be measured in the same time."""


def measure(folder: Path, runs: int) -> list[Figure]:
    counts = [(FEWER, max(1, runs)), (FILES, max(1, runs // 2))]
    return [_measure(folder, files, pairs) for files, pairs in counts]


def _measure(folder: Path, files: int, pairs: int) -> Figure:
    job = put_job("small_files.py", folder)
    by_hand = put_job("small_files_by_hand.py", folder)
    options = ["--param", f"files={files}", "--jobs", "2", "--quiet"]
    compared = compare(
        Side(
            command=[BATTEN, "run", job.name, *options],
            folder=folder,
            reset=fresh(folder, "small", "small.batten"),
        ),
        Side(
            command=[PYTHON, by_hand.name, str(files)],
            folder=folder,
            reset=fresh(folder, "by_hand"),
        ),
        pairs,
    )
    what = (
        f"{files:,} files of 4 kB, 2 jobs, divided by `Pool(2)` that writes, syncs and renames each"
    )
    return compared.figure(what, "1.3")
