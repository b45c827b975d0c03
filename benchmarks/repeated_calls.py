"""Calls of 0.1 s, 50 in flight, killed four times each (SIGKILL to the process): what is called
again, by batten, by a bare loop that appends each answer, and by saturate 0.2.0 where the variable
BENCHMARK_SATURATE names a Python that has it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
import urllib.request
from pathlib import Path

from benchmarks.measure import JOBS, PYTHON, Figure, put_job

CALLS = 2500
KILLS = 4
IN_FLIGHT = 50
ALLOWED = IN_FLIGHT + 10


def measure(folder: Path, _runs: int) -> list[Figure]:
    job, peer = put_job("repeated.py", folder), put_job("repeated_saturate.py", folder)
    ways = {
        "batten, 50 awaited": [PYTHON, job.name, "awaited"],
        "batten, 50 threads": [PYTHON, job.name, "threads"],
        "a bare loop, 50 threads": [PYTHON, job.name, "loop"],
    }
    saturate = os.environ.get("BENCHMARK_SATURATE")
    if saturate:
        ways["saturate, 50 awaited"] = [saturate, peer.name]
    return [_measure(folder, what, words) for what, words in ways.items()]


def _measure(folder: Path, what: str, words: list[str]) -> Figure:
    place = folder / what.replace(" ", "-").replace(",", "")
    place.mkdir()
    for each in folder.glob("*.py"):
        (place / each.name).write_text(each.read_text())
    server = subprocess.Popen(
        [PYTHON, str(JOBS / "counting.py")], stdout=subprocess.PIPE, text=True
    )
    try:
        port = server.stdout.readline().strip() if server.stdout else ""
        command = [*words, port, str(CALLS)]
        moments = random.Random(16)
        for _ in range(KILLS):
            process = subprocess.Popen(
                command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            until = _count(port) + moments.randint(200, 500)
            while process.poll() is None and _count(port) < until:
                time.sleep(0.005)
            process.kill()
            process.wait()
            time.sleep(0.5)
        subprocess.run(command, cwd=place, check=True, capture_output=True)
        repeated = (_count(port) - CALLS) / KILLS
    finally:
        server.kill()
        server.communicate()
    return Figure(
        what=f"{what}: called again after each kill",
        figure=f"{repeated:.0f}",
        limit=f"{ALLOWED}" if what.startswith("batten") else "",
        basis=f"{KILLS} kills of {CALLS:,} calls",
    )


def _count(port: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/count") as answer:
        return int(json.load(answer)["requests"])
