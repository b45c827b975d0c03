"""Files beside the parts: those that readers would take for parts, and those that nobody reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.dataset
import pytest

import batten
from batten.inspect.verifying.verify import verify

if TYPE_CHECKING:
    from conftest import JobFolder

JOB = """
    def square(n):
        return {"n": n * n}
    pipeline = batten.from_range(6).map(square).options(batch_size=2).write_parquet("out")
"""
PART = "out/part-000000.parquet"


@pytest.fixture
def done(job: JobFolder) -> JobFolder:
    assert job.write(JOB).run().code == 0
    return job


@pytest.mark.parametrize(
    "name",
    [
        "part-000001 (copy).parquet",
        "part-000001.sync-conflict-20261121.parquet",
        "x.parquet",
        "X.PARQUET",
        "part-1.parquet",
        "part-000001.parquet.bak",
        "no ending",
        "sub/x.parquet",
        "k=1/deeper/x.parquet",
        "_sub/x.parquet",
        ".x.parquet",
        "_x.parquet",
    ],
)
def test_a_file_that_readers_take_for_a_part_is_told(name: str, done: JobFolder) -> None:
    path = done.path / "out" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(done.path / PART, path)
    found = batten.diagnose(done.path / "out")
    assert (found.state, found.exit_code) == ("INCONSISTENT", 4)
    assert name in found.reason
    assert "move it out of the folder" in found.next
    assert not verify(done.path / "out").is_sound
    if "/" in name or " " not in name:
        return
    refused = done.run()
    assert refused.code == 4
    assert name in refused.told[0]
    assert done.batten("recover", "out", "--recompute-missing").code == 4
    path.rename(done.path / "moved")
    assert done.batten("diagnose", "out").code == 0
    assert done.run().code == 0
    assert pyarrow.dataset.dataset(done.path / "out").count_rows() == 6


def test_a_link_that_readers_follow_is_told(done: JobFolder) -> None:
    (done.path / "out" / "x.parquet").symlink_to(done.path / PART)
    assert done.batten("diagnose", "out").code == 4


@pytest.mark.parametrize(
    "name", [".gitkeep", ".DS_Store", "._part-000000.parquet", "_SUCCESS", ".x", ".git/HEAD"]
)
def test_what_nobody_reads_is_no_business_of_ours(name: str, done: JobFolder) -> None:
    path = done.path / "out" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text")
    found = batten.diagnose(done.path / "out")
    assert (found.exit_code, found.findings) == (0, ())
    assert verify(done.path / "out").is_sound
    if name == ".gitkeep":
        assert done.run().code == 0


def test_one_that_comes_while_the_job_runs_is_told_at_its_end(job: JobFolder) -> None:
    job.write(
        JOB.replace(
            "return",
            "import shutil; n == 5 and shutil.copy('other', 'out/x.parquet')\n        return",
        )
    )
    (job.path / "other").write_bytes(b"PAR1")
    ended = job.run()
    assert ended.code == 4
    assert "x.parquet" in ended.told[0]
    (job.path / "out" / "x.parquet").unlink()
    Path(job.path / "other").unlink()
    assert job.run().code == 0
