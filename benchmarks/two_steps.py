"""Two steps with workers of their own, against the slower one alone: decoding of 60 ms in four
workers, then a model of 20 ms in one; values of 100 kB pass between them."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.measure import BATTEN, Figure, Side, compare, fresh, median_ratio, put_job

ITEMS = 1000


def measure(folder: Path, runs: int) -> list[Figure]:
    job = put_job("two_steps.py", folder)

    def side(way: str) -> Side:
        words = ["--param", f"way={way}", "--param", f"items={ITEMS}", "--json", "--quiet"]
        return Side(
            command=[BATTEN, "run", job.name, *words],
            folder=folder,
            reset=fresh(folder, "out", "out.batten"),
        )

    pairs = compare(side("both"), side("alone"), min(runs, 3), is_warm=True)
    both, alone = (
        [json.loads(took.output)["seconds"]["prepare"] for took in each]
        for each in (pairs.ours, pairs.theirs)
    )
    return [
        Figure(
            what=f"{ITEMS:,} items: throughput of both steps, divided by that of the slower one",
            figure=f"{median_ratio(alone, both):.3f}",
            limit="0.9 (at least)",
            basis=f"{len(both)} pairs; the model alone needs {ITEMS * 0.02:.0f} s",
        )
    ]
