"""Calls of an async function to an endpoint that takes 50 ms, 500 at a time, against a bare asyncio
loop with the same client, which keeps all answers in memory and writes one file at the end."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.measure import BATTEN, JOBS, PYTHON, Figure, Side, compare, fresh, put_job

CALLS = 20_000
CONCURRENCY = 500
ANSWER_SECONDS = 0.05


def measure(folder: Path, runs: int) -> list[Figure]:
    job, bare = put_job("calls.py", folder), put_job("calls_by_hand.py", folder)
    endpoint = subprocess.Popen(
        [PYTHON, str(JOBS / "endpoint.py"), str(ANSWER_SECONDS)], stdout=subprocess.PIPE, text=True
    )
    try:
        port = endpoint.stdout.readline().strip() if endpoint.stdout else ""
        given = {"port": port, "calls": str(CALLS), "concurrency": str(CONCURRENCY)}
        words = [f"--param={name}={value}" for name, value in given.items()]
        pairs = compare(
            Side(
                command=[BATTEN, "run", job.name, "--quiet", *words],
                folder=folder,
                reset=fresh(folder, "calls", "calls.batten"),
            ),
            Side(command=[PYTHON, bare.name, *given.values()], folder=folder),
            min(runs, 3),
        )
    finally:
        endpoint.kill()
        endpoint.communicate()
    what = f"{CALLS:,} calls, start and end of the command included, divided by the bare loop"
    return [pairs.figure(what, "1.11, which is 0.9 of its speed")]
