"""Workers that begin in a fresh interpreter, against those that are forked."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import BATTEN, Figure, Side, compare, fresh, put_job

LITTLE, MUCH = 100, 200_000


def measure(folder: Path, runs: int) -> list[Figure]:
    job = put_job("trivial.py", folder)

    def side(items: int, workers: str) -> Side:
        given = ["--param", f"items={items}", "--jobs", "2", "--workers", workers, "--quiet"]
        return Side(
            command=[BATTEN, "run", job.name, *given],
            folder=folder,
            reset=fresh(folder, "trivial", "trivial.batten"),
        )

    return [
        compare(side(items, "spawn"), side(items, "fork"), runs * 2).figure(
            f"{items:,} trivial items, 2 jobs: `--workers spawn` divided by `fork`", "none"
        )
        for items in (LITTLE, MUCH)
    ]
