"""How many fsyncs a further batch costs, counted by the names of the durable steps."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

from benchmarks.measure import BATTEN, ENVIRONMENT, Figure, fresh, put_job

BATCH_ITEMS = 1000
_OF_FILES = "stage.sync"
_OF_FOLDERS = "sync_names"


def measure(folder: Path, runs: int) -> list[Figure]:
    return [
        _compare(folder, "trivial", [], 100, "trivial items"),
        _compare(folder, "slow", ["--param=kind=sleep"], 2, "items of 5 ms"),
    ]


def _compare(folder: Path, job: str, options: list[str], batches: int, items: str) -> Figure:
    """What a run does once cancels out between one of so many batches and one of twice as many."""
    more, fewer = (_count(folder, job, options, each) for each in (2 * batches, batches))
    more.subtract(fewer)
    return Figure(
        what=f"fsyncs a batch of {BATCH_ITEMS:,} {items}",
        figure=f"{more.total() / batches:.2f}",
        limit="4",
        basis=f"{batches} further batches: {more[_OF_FILES]} of files, "
        f"{more[_OF_FOLDERS]} of folders",
    )


def _count(folder: Path, job: str, options: list[str], batches: int) -> Counter[str]:
    path = put_job(f"{job}.py", folder)
    steps = folder / "steps"
    fresh(folder, job, f"{job}.batten", steps.name)()
    subprocess.run(
        [
            BATTEN,
            "run",
            path.name,
            *options,
            f"--param=items={batches * BATCH_ITEMS}",
            f"--param=batch_size={BATCH_ITEMS}",
        ],
        cwd=folder,
        env={**ENVIRONMENT, "BATTEN_COUNT_STEPS": os.fspath(steps)},
        capture_output=True,
        check=True,
    )
    names = (line.split(" ", 1)[0] for line in steps.read_text().splitlines())
    return Counter(name for name in names if name in (_OF_FILES, _OF_FOLDERS))
