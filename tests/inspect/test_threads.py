"""Commands that read Parquet start none of Arrow's threads: one that is still starting when its
process ends makes that abort, though nothing is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

JOB = """
import batten

def measure(n):
    return {"n": n, "tenth": 10 / n}

pipeline = batten.from_range(10).map(measure).write_parquet("out/")
"""

PROGRAM = """
import os, sys

os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])  # the allocator has a thread for each
from batten.cli.main import main

main(sys.argv[1:])
tasks = [task for task in os.listdir("/proc/self/task") if task != str(os.getpid())]
names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in tasks]
print([name for name in names if name != "jemalloc_bg_thd"], file=sys.stderr)
"""


@pytest.mark.parametrize("command", ["show", "verify", "report"])
def test_no_threads_are_left(tmp_path: Path, command: str) -> None:
    (tmp_path / "job.py").write_text(JOB)
    batten = Path(sys.executable).with_name("batten")
    job = subprocess.run([batten, "run", "job.py", "--quiet"], cwd=tmp_path, check=False)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, command, "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (job.returncode, done.stderr) == (3, "[]\n")
    page = tmp_path / "report.html"
    assert "9 committed" in (page.read_text() if command == "report" else done.stdout)
