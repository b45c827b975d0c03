"""The page of a dataset of 10,000 parts with 100,000 quarantined items."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.measure import BATTEN, Figure, Side, put_job, run

BATCHES = 10_000
MEBIBYTE = 1 << 20


def measure(folder: Path, runs: int) -> list[Figure]:
    job = put_job("failing.py", folder)
    made = [BATTEN, "run", job.name, f"--param=items={11 * BATCHES}", "--jobs=2", "--quiet"]
    # Its exit code says that items are quarantined.
    run(Side(command=["sh", "-c", " ".join(made) + " || test $? = 3"], folder=folder))
    report = Side(command=[BATTEN, "report", "failing", "-o", "page.html"], folder=folder)
    took = [run(report) for _ in range(runs * 2)]
    seconds = [each.processor_seconds for each in took]
    what = "`batten report` on 10,000 parts with 100,000 quarantined items"
    size = (folder / "page.html").stat().st_size / MEBIBYTE
    return [
        Figure(
            what=f"{what}, in seconds of processor",
            figure=f"{median(seconds):.2f}",
            limit="2.0",
            basis=f"best {min(seconds):.2f}",
        ),
        Figure(what="size of that page, in MiB", figure=f"{size:.2f}", limit="5.0", basis=""),
    ]
