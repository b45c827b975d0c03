"""Items of 5 ms on two processors, against two processes that do nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.measure import (
    BATTEN,
    PYTHON,
    Figure,
    Side,
    compare,
    fresh,
    median_ratio,
    put_job,
)

ITEMS = 10_000
"""For half a minute: throughput is what is measured, and the start of Python takes half a second
however many there are. One pair, since so long a run is an average of its own."""


def measure(folder: Path, _runs: int) -> list[Figure]:
    return [figure for kind in ("sleep", "spin") for figure in _measure(folder, kind)]


def _measure(folder: Path, kind: str) -> list[Figure]:
    job = put_job("slow.py", folder)
    bare = put_job("slow_bare.py", folder)
    arguments = ["--param", f"kind={kind}", "--param", f"items={ITEMS}", "--jobs", "2", "--json"]
    pairs = compare(
        Side(
            command=[BATTEN, "run", job.name, *arguments, "--quiet"],
            folder=folder,
            reset=fresh(folder, "slow", "slow.batten"),
        ),
        Side(command=[PYTHON, bare.name, kind, str(ITEMS)], folder=folder),
        runs=1,
        is_warm=True,
    )
    whole = median_ratio([t.seconds for t in pairs.theirs], [t.seconds for t in pairs.ours])
    prepare = [json.loads(t.output)["seconds"]["prepare"] for t in pairs.ours]
    calls = [float(t.output) for t in pairs.theirs]
    word = {"sleep": "asleep", "spin": "computing"}[kind]
    return [
        Figure(
            what=f"{ITEMS:,} items of 5 ms {word}: throughput of two bare processes, "
            "from start to exit of both",
            figure=f"{whole:.3f}",
            limit="0.95 (at least)",
            basis="1 pair",
        ),
        Figure(
            what="the same without the start of Python, from the first item to the last part",
            figure=f"{median_ratio(calls, prepare):.3f}",
            limit="0.95 (at least)",
            basis="1 pair",
        ),
    ]
