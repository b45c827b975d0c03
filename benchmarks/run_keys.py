"""1,000 outputs that differ by a run's key: how long it takes to name the state of each."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.measure import BATTEN, Figure, Side, median_seconds, put_job, run

KEYS = 1000


def measure(folder: Path, runs: int) -> list[Figure]:
    job = put_job("trivial.py", folder)
    words = ("--quiet", "--param=items=1000", "--param=batch_size=100")
    run(Side(command=[BATTEN, "run", job.name, *words], folder=folder))
    (folder / "out").mkdir()
    for key in range(KEYS):
        for suffix in ("", ".batten"):
            shutil.copytree(folder / f"trivial{suffix}", folder / f"out/{key:03}{suffix}")
    command = [BATTEN, "diagnose", "out/{key}", f"--expect=key=000..{KEYS - 1}", "--json"]
    took = [run(Side(command=command, folder=folder)) for _ in range(runs * 2)]
    return [
        Figure(
            what=f"`batten diagnose` on {KEYS:,} run keys of 10 parts each, complete, in seconds",
            figure=f"{median_seconds(took):.2f}",
            limit="1.0",
            basis=f"best {min(each.seconds for each in took):.2f}",
        )
    ]
