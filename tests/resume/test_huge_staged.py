"""A huge file among what is staged costs a run neither its memory nor its end: it is not used, and
its items are computed."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from batten.model.disk.names import Layout
from batten.model.disk.staged_names import DIGEST_CHARACTERS, StagedChunk

JOB = """
import batten
pipeline = batten.from_range({items}).map(lambda n: {{"n": n}}).options(batch_size=2)
pipeline = pipeline.write_parquet("out")
"""
MEMORY_BYTES_MAX = 3 << 30
LAYOUT = Layout("out")


def run(folder: Path, items: int) -> subprocess.CompletedProcess[str]:
    (folder / "job.py").write_text(JOB.format(items=items))
    return subprocess.run(
        [sys.executable, "-m", "batten", "run", "job.py", "--jobs", "1", "--quiet"],
        cwd=folder,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX)
        ),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def name_of(kind: str, digest: str) -> str:
    if kind == "chunk":
        digest = digest[:DIGEST_CHARACTERS]
        return LAYOUT.staged_chunk(StagedChunk(batch=1, start=0, stop=2, some=None, digest=digest))
    return LAYOUT.staged_file(1, kind, digest)


ENDS = {
    "sparse": b"",
    "with the end of an Arrow file": b"ARROW1",
    "with the end of a Parquet file": b"\xff\xff\xff\xffPAR1",
}


@pytest.mark.parametrize("kind", ["chunk", "sealed", "quarantine"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("size", [4 << 30, 1 << 40])
def test_a_huge_staged_file(tmp_path: Path, kind: str, end: str, size: int) -> None:
    assert run(tmp_path, 2).returncode == 0
    path = tmp_path / name_of(kind, hashlib.sha256(b"").hexdigest())
    path.parent.mkdir(exist_ok=True)
    with open(path, "wb") as file:
        os.truncate(file.fileno(), size)
        file.seek(0, os.SEEK_END)
        file.write(ENDS[end])
    ended = run(tmp_path, 4)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
