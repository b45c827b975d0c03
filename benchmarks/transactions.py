"""A transaction that changes five files of 20 kB, by the size of the tree and against undoing."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.measure import ENVIRONMENT, PYTHON, Figure, median_ratio, put_job

FILES = 5
FOLDERS = 100
PAIRS_OF_A_RUN = 30
"""Changes are measured in turn, so that a drift of the machine does not show."""

GIBIBYTE = 1 << 30


def measure(folder: Path, runs: int) -> list[Figure]:
    job = put_job("transactions.py", folder)
    small, large = folder / "small", folder / "large"
    fill(small, folders=FILES, files=2)
    fill(large, folders=FOLDERS, files=1000)
    with open(large / "folder-0" / "large-file", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, GIBIBYTE)
    os.sync()
    pairs = runs * PAIRS_OF_A_RUN
    return [
        compare(
            job,
            "seconds at 100,000 files and 1 GiB beside them / at 10 files",
            "1.2",
            [str(large), "transaction", str(small), "transaction"],
            pairs,
        ),
        compare(
            job,
            "seconds / those of copying for a backup and writing in place",
            "",
            [str(small), "transaction", str(small), "undo"],
            pairs,
        ),
        *count_steps(job, small),
    ]


def fill(root: Path, *, folders: int, files: int) -> None:
    for folder in range(folders):
        path = root / f"folder-{folder}"
        path.mkdir(parents=True)
        for file in range(files):
            (path / f"file-{file}").write_bytes(b"old")


def compare(job: Path, what: str, limit: str, sides: list[str], pairs: int) -> Figure:
    """The median of the ratios of two changes, one after the other, without the first."""
    output = subprocess.run(
        [PYTHON, str(job), str(pairs + 1), *sides],
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
    ).stdout
    first, second = (seconds[1:] for seconds in json.loads(output))
    return Figure(
        what=what,
        figure=f"{median_ratio(first, second):.2f}",
        limit=limit,
        basis=f"{tell(first)} against {tell(second)}, {pairs} pairs",
    )


def tell(seconds: list[float]) -> str:
    return f"{median(seconds) * 1000:.2f} ms (best {min(seconds) * 1000:.2f})"


def count_steps(job: Path, root: Path) -> Iterator[Figure]:
    """Of one further transaction, so that what a process does once cancels out."""
    more, fewer = (count_of(job, root, count) for count in (2, 1))
    more.subtract(fewer)
    for what, kinds, limit in (
        ("fsyncs", ("stage.sync", "sync_names"), 2 * FILES + 4),
        ("renames", ("replace.rename", "publish.rename"), FILES + 2),
    ):
        yield Figure(
            what=f"{what} of a transaction of {FILES} files in {FILES} folders",
            figure=str(sum(more[kind] for kind in kinds)),
            limit=str(limit),
            basis="the named durable steps",
        )


def count_of(job: Path, root: Path, count: int) -> Counter[str]:
    steps = job.with_name("steps")
    steps.unlink(missing_ok=True)
    subprocess.run(
        [PYTHON, str(job), str(count), str(root), "transaction"],
        env={**ENVIRONMENT, "BATTEN_COUNT_STEPS": str(steps)},
        capture_output=True,
        check=True,
    )
    return Counter(line.split(" ", 1)[0] for line in steps.read_text().splitlines())
