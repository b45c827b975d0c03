"""Items of 50 ms done by 1, 2 and 4 of `batten work`, against what they could do at best."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import BATTEN, ENVIRONMENT, Figure, fresh, put_job

SECONDS_AN_ITEM = 0.05
SECONDS = 20.0
"""What the work takes at best, by however many: the end of it counts little then."""

POLL_SECONDS = 0.02
COMMAND = [BATTEN, "work", "anywhere.py", "--jobs", "1", "--quiet"]


def measure(folder: Path, _runs: int) -> list[Figure]:
    return [_measure(folder, machines) for machines in (1, 2, 4)]


def _measure(folder: Path, machines: int) -> Figure:
    items = count_items(machines)
    seconds = time_workers(folder, [COMMAND] * machines, machines)
    return Figure(
        what=f"{items:,} items of 50 ms by {machines} of `batten work` with a process each: "
        "throughput, of what they could do at best",
        figure=f"{items * SECONDS_AN_ITEM / machines / seconds:.3f}",
        limit="0.95 (at least)",
        basis="1 run",
    )


def count_items(workers: int) -> int:
    return int(SECONDS / SECONDS_AN_ITEM) * workers


def time_workers(
    folder: Path, commands: list[list[str]], workers: int, more: Mapping[str, str] = ENVIRONMENT
) -> float:
    """The seconds from when all `workers` of the commands have an item until the last one."""
    put_job("anywhere.py", folder)
    fresh(folder, "anywhere", "anywhere.batten", "gate", "begun", "ended.log")()
    environment = {**ENVIRONMENT, **more, "ITEMS": str(count_items(workers))}
    started = [subprocess.Popen(each, cwd=folder, env=environment) for each in commands]
    begun = folder / "begun"
    while not begun.is_dir() or len(os.listdir(begun)) < workers:
        time.sleep(POLL_SECONDS)
    began = time.monotonic()
    (folder / "gate").touch()
    for worker in started:
        if worker.wait():
            raise RuntimeError(f"a worker ended with {worker.returncode}")
    ends = [float(line) for line in (folder / "ended.log").read_text().split()]
    return max(ends) - began
