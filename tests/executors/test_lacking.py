"""What the machine lacks for a run is told as the machine's failure, whichever call finds it out:
no traceback, and nothing is quarantined for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import JobFolder

EXIT_ENVIRONMENT = 7

JOB = """
import os, resource, sys, threading

def lack():
    if files := os.environ.get("FILES"):
        most = len(os.listdir("/proc/self/fd")) - 1 + int(files)
        if most <= resource.getrlimit(resource.RLIMIT_NOFILE)[1]:  # A worker loads it once more.
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if os.environ.get("THREADS") == "0":
        threading.stack_size(1 << 50)

{kind} work(number):
    return {{"number": number}}

pipeline = batten.from_range(20).map(work).options(batch_size=5, schema={{"number": int}})
pipeline = pipeline.write_parquet("out/")
lack()
"""
KINDS = {
    "fork": ("def", ("--jobs", "2", "--workers", "fork")),
    "spawn": ("def", ("--jobs", "2", "--workers", "spawn")),
    "async": ("async def", ()),
}


def check(job: JobFolder, kind: str, **lacking: str) -> int:
    word, words = KINDS[kind]
    job.write(JOB.format(kind=word))
    ended = job.run(*words, **lacking)
    assert "Traceback" not in ended.err, ended.err
    assert ended.code in (0, EXIT_ENVIRONMENT), ended.err
    assert job.run(*words).code == 0
    assert [row["number"] for row in job.rows()] == list(range(20))
    return ended.code


@pytest.mark.parametrize("files", range(1, 16, 2))
@pytest.mark.parametrize("kind", ["fork", "spawn", "async"])
def test_few_open_files(job: JobFolder, kind: str, files: int) -> None:
    check(job, kind, FILES=str(files))


def test_no_thread_to_be_had(job: JobFolder) -> None:
    assert check(job, "async", THREADS="0") == EXIT_ENVIRONMENT


@pytest.mark.parametrize("executor", ["threads", "async"])
def test_in_python_it_is_an_error_of_batten(tmp_path: Path, executor: str) -> None:
    program = f"""
import threading
import batten

{"async def" if executor == "async" else "def"} work(number):
    return {{"number": number}}

pipeline = batten.from_range(20).map(work).write_parquet("out/")
threading.stack_size(1 << 50)
try:
    pipeline.run({"" if executor == "async" else "executor='threads', jobs=2"})
except batten.StorageError as error:
    print(error.what)
threading.stack_size(0)
print(pipeline.run().status)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in ended.stderr
    assert ended.stdout.splitlines() == [
        "No process can be started: can't start new thread.",
        "complete",
    ]


WORDS = ["run job.py", "diagnose out", "show out", "cache show c", "--version"]


@pytest.mark.parametrize("words", WORDS)
def test_a_current_folder_that_is_gone(tmp_path: Path, words: str) -> None:
    line = f"mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} -m batten {words}"
    ended = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in ended.stderr
    if words == "--version":
        assert ended.returncode == 0
        return
    assert ended.returncode == EXIT_ENVIRONMENT
    assert ended.stderr.splitlines()[0] == "The current folder is not there any more."


@pytest.mark.parametrize(
    "words",
    ["diagnose out", "verify out", "show out", "recover out", "clean out", "export out x.csv"],
)
@pytest.mark.parametrize("files", [4, 5])
def test_each_command_tells_that_files_are_few(job: JobFolder, words: str, files: int) -> None:
    job.write(
        """
        def do(n):
            return {"n": n}

        pipeline = batten.from_range(4).map(do).options(batch_size=2).write_parquet("out")
        """
    )
    assert job.run("--limit", "3", "--jobs", "1").code == 0
    start = f"ulimit -n {files}; exec {sys.executable}"
    alone, ended = (
        subprocess.run(
            ["bash", "-c", f"{start} {rest}"],
            cwd=job.path,
            capture_output=True,
            text=True,
            check=False,
        )
        for rest in ("-c pass", f"-m batten {words}")
    )
    if alone.stderr:
        pytest.skip("Python itself can't begin so: what installed batten has it open files")
    assert "Traceback" not in ended.stderr
    assert ended.returncode in (0, 4, 5, 7, 10, 11), ended.stderr
