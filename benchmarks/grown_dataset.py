"""A billion items in a million parts, in a model of an object store: what is asked of the store,
how long batten itself takes, and how much memory"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks.measure import ENVIRONMENT, PYTHON, Figure

BATCHES = 1_000_000
ROOT = Path(__file__).parents[1]
FEWER = 100_000
_LIMIT = "5 s, 300 MiB"
_WHAT = {
    ("complete", BATCHES): "`diagnose` of a complete dataset",
    ("start", BATCHES): "a run that finds nothing to do",
    ("interrupted", BATCHES): "`diagnose` of a million parts whose accounts are not closed",
    ("going_on", BATCHES): "a run that goes on with them, until its first item is done",
    ("unrolled", BATCHES): "the same without roll-ups",
    ("interrupted", FEWER): "`diagnose` of 100,000 parts whose accounts are not closed",
    ("unrolled", FEWER): "these without roll-ups",
}


def measure(folder: Path, runs: int) -> list[Figure]:
    return [_measure(state, batches) for state, batches in _WHAT]


def _measure(state: str, batches: int) -> Figure:
    words = [PYTHON, "-m", "benchmarks.grown_store", state, str(batches)]
    done = subprocess.run(
        words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    return Figure(
        what=_WHAT[state, batches],
        figure=f"{found['seconds']:.1f} s, {found['mebibytes']:,} MiB",
        limit=_LIMIT if batches == BATCHES and state != "unrolled" else "none",
        basis=f"{found['lists']:,} listings, {found['gets']:,} reads, {found['changes']} changes, "
        f"{found['bytes'] / 1e6:,.0f} MB of answers; the seconds are the processor's",
    )
