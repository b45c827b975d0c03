"""A function that changes the umask changes it for its own files: parts and records are for all
who were to read them when the run began."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import batten

if TYPE_CHECKING:
    from conftest import JobFolder

JOB = """
    import os, batten

    def work(number):
        os.umask(0o777 if number % 2 else 0)
        if number == 5:
            raise ValueError("no")
        return {"n": number}

    pipeline = (
        batten.from_range(12).map(work).options(batch_size=3)
        .write_parquet("out").write_csv("rows.csv")
    )
"""


def modes_of(folder: Path) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {"files": set(), "folders": set()}
    for path in folder.rglob("*"):
        kind = "folders" if path.is_dir() else "files"
        found[kind].add(stat.S_IMODE(path.stat().st_mode))
    return found


@pytest.mark.parametrize("executor", ["processes", "threads", "serial"])
@pytest.mark.parametrize("umask", [0o027])
def test_parts_and_records_keep_the_modes_of_the_beginning(
    job: JobFolder, executor: str, umask: int
) -> None:
    job.write(JOB)
    program = f"from job import pipeline; pipeline.run(jobs=2, executor={executor!r})"
    command = [sys.executable, "-c", program]
    subprocess.run(command, cwd=job.path, check=True, umask=umask, capture_output=True)
    assert modes_of(job.path / "out") == {"files": {0o666 & ~umask}, "folders": set()}
    assert modes_of(job.path / "out.batten") == {
        "files": {0o666 & ~umask},
        "folders": {0o777 & ~umask},
    }
    assert stat.S_IMODE((job.path / "rows.csv").stat().st_mode) == 0o666 & ~umask


def test_a_transaction_keeps_the_modes_of_its_beginning(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with batten.transaction(tmp_path / "notes") as change:
            os.umask(0o777)
            change.write("pages/one.md", "one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "notes/pages").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "notes/pages/one.md").stat().st_mode) == 0o644
