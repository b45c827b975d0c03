"""Items of 50 ms done by 3 of `batten work`, of which Ray starts two: what Ray costs a task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Figure
from benchmarks.workers_anywhere import COMMAND, count_items, time_workers

CLUSTER = Path(__file__).parents[1] / "tests" / "anywhere" / "ray_cluster.py"
ON_LOOPBACK = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
WORKERS = 3
ITEMS_A_TASK = 40
"""A batch: its items are quick enough for one task."""


def measure(folder: Path, _runs: int) -> list[Figure]:
    plain = time_workers(folder, [COMMAND] * WORKERS, WORKERS)
    with _cluster(folder) as address:
        on_ray = [*COMMAND, "--ray", address, "--ray-workers", str(WORKERS - 1)]
        ray = time_workers(folder, [on_ray], WORKERS, ON_LOOPBACK)
    tasks = count_items(WORKERS) / ITEMS_A_TASK / WORKERS
    return [
        Figure(
            what=f"{count_items(WORKERS):,} items of 50 ms by {WORKERS} workers: seconds where Ray "
            "starts two of them, divided by those where all are started by hand",
            figure=f"{ray / plain:.3f}",
            limit="",
            basis=f"{ray:.2f} s against {plain:.2f} s",
        ),
        Figure(
            what="what that is for each task of 2 s of a worker",
            figure=f"{(ray - plain) / tasks * 1000:.0f} ms",
            limit="",
            basis="the same runs",
        ),
    ]


@contextmanager
def _cluster(folder: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, str(CLUSTER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **ON_LOOPBACK, "ITEMS": str(count_items(WORKERS))},
        cwd=folder,
    )
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise RuntimeError("no pipes")
    try:
        yield str(json.loads(stdout.readline())["address"])
    finally:
        stdin.close()
        process.wait()
