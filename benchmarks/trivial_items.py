"""Items that take no time: what batten itself costs."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import BATTEN, PYTHON, Figure, Side, compare, fresh, put_job

ITEMS = 200_000


def measure(folder: Path, runs: int) -> list[Figure]:
    job = put_job("trivial.py", folder)
    by_hand = put_job("trivial_by_hand.py", folder)
    options = ["--param", f"items={ITEMS}", "--jobs", "2", "--quiet"]
    pairs = compare(
        Side(
            command=[BATTEN, "run", job.name, *options],
            folder=folder,
            reset=fresh(folder, "trivial", "trivial.batten"),
        ),
        Side(
            command=[PYTHON, by_hand.name, str(ITEMS)],
            folder=folder,
            reset=fresh(folder, "trivial.parquet"),
        ),
        runs * 2,
    )
    what = (
        f"{ITEMS:,} trivial items, 2 jobs, divided by `Pool(2).imap(chunksize=256)` and one "
        "`ParquetWriter` with one fsync"
    )
    return [pairs.figure(what, "1.0")]
