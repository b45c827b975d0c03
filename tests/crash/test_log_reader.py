"""The reader of the log goes away: the log is lost, and no item is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import batten

if TYPE_CHECKING:
    from conftest import JobFolder

PATIENCE_SECONDS = 30.0
GATE = """
import logging, os, subprocess, sys
from pathlib import Path

logging.basicConfig(level=logging.INFO)
console = sys.stderr
go = Path(__file__).with_name("go")

def say(number):
    if number == 3 and go.exists():
        print("begun", flush=True)
        go.open().close()  # a pipe, which opens when the test opens it as well
        go.unlink()
"""
WAYS = {
    "print": "print('did', number)",
    "print, flushed": "print('did', number, flush=True)",
    "standard error": "print('did', number, file=sys.stderr)",
    "a stream of the module": "print('did', number, file=console, flush=True)",
    "bytes": "sys.stdout.buffer.write(b'did'); sys.stdout.flush()",
    "logging": "logging.info('did %s', number)",
    "the descriptor": "os.write(1, b'did'); os.write(2, b'did')",
    "the first streams": "print('did', file=sys.__stderr__, flush=True)",
    "a program": "subprocess.run(['sh', '-c', 'echo did; echo did >&2'], check=True)",
}
KINDS = {"processes": "def work", "async": "async def work"}


def write_job(job: JobFolder, way: str, kind: str) -> None:
    os.mkfifo(job.path / "go")
    job.write(
        f"{GATE}\n{KINDS[kind]}(number):\n    say(number)\n    {WAYS[way]}\n"
        "    return {'number': number}\n\n"
        "pipeline = batten.from_range(60).map(work).write_parquet('out/')\n"
    )


def start(job: JobFolder, *words: str, **streams: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "batten", "run", "job.py", "--jobs", "1", *words]
    return subprocess.Popen(command, cwd=job.path, **streams)  # type: ignore[call-overload,no-any-return]


def check_complete(job: JobFolder) -> None:
    assert "0 quarantined" in job.batten("show", "out").out
    assert [row["number"] for row in job.rows()] == list(range(60))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_a_pipe_whose_reader_ends(job: JobFolder, way: str, kind: str) -> None:
    write_job(job, way, kind)
    run = start(job, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert run.stdout is not None
    assert any(b"begun" in line for line in run.stdout)
    run.stdout.close()
    (job.path / "go").open("w").close()
    assert run.wait(PATIENCE_SECONDS) == 0
    check_complete(job)


@pytest.mark.parametrize("way", ["print", "a program"])
def test_a_terminal_that_closes(job: JobFolder, way: str) -> None:
    write_job(job, way, "processes")
    ours, theirs = os.openpty()
    # In a session of its own it gets no SIGHUP, as under `setsid` or `nohup`.
    run = start(job, stdout=theirs, stderr=theirs, stdin=theirs, start_new_session=True)
    os.close(theirs)
    seen = b""
    while b"begun" not in seen:
        seen += os.read(ours, 1000)
    os.close(ours)
    (job.path / "go").open("w").close()
    assert run.wait(PATIENCE_SECONDS) == 0
    check_complete(job)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", "> /dev/full 2>&1"])
def test_what_can_not_be_written_from_the_start(job: JobFolder, redirect: str, kind: str) -> None:
    write_job(job, "print", kind)
    (job.path / "go").unlink()
    command = f'exec "{sys.executable}" -m batten run job.py --jobs 1 {redirect}'
    ended = subprocess.run(command, shell=True, cwd=job.path, check=False, timeout=120)
    assert ended.returncode == 0
    check_complete(job)


@pytest.mark.parametrize("workers", ["fork", "spawn"])
@pytest.mark.parametrize("way", ["the descriptor", "the first streams", "a program"])
def test_a_full_disk_behind_the_log_of_workers(job: JobFolder, way: str, workers: str) -> None:
    """However they write: what they have is a pipe that is always read."""
    write_job(job, way, "processes")
    (job.path / "go").unlink()
    words = f"--jobs 2 --workers {workers} > /dev/full 2>&1"
    command = f'exec "{sys.executable}" -m batten run job.py {words}'
    ended = subprocess.run(command, shell=True, cwd=job.path, check=False, timeout=120)
    assert ended.returncode == 0
    check_complete(job)


def test_what_workers_printed_last_is_not_lost(job: JobFolder) -> None:
    job.write("""
        import os

        def work(number):
            os.write(1, b"x" * 200_000 + b"\\n")
            if number == 3:
                os.write(2, b"the last words\\n")
                os._exit(7)
            return {"number": number}

        pipeline = batten.from_range(8).map(work).write_parquet("out/")
    """)
    ended = job.run("--jobs", "2")
    assert ended.code == 3
    assert ended.err.count("the last words") == 2
    assert ended.err.count("x") >= 9 * 200_000
    assert ended.err.rindex("the last words") < ended.err.index("out: complete")


def test_the_log_of_the_run_tells_of_it(job: JobFolder) -> None:
    write_job(job, "print", "processes")
    run = start(job, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert run.stdout is not None
    run.stdout.readline()
    run.stdout.close()
    (job.path / "go").open("w").close()
    run.wait(PATIENCE_SECONDS)
    (log,) = (job.path / "out.batten/runs").glob("*.jsonl")
    stop = json.loads(log.read_text().splitlines()[-1])
    assert (stop["event"], stop["output_lost"]) == ("stop", "Broken pipe")


OWN_PIPE = """
import os

def work(number):
    if number == 7:
        reader, writer = os.pipe()
        os.close(reader)
        os.write(writer, b"to nobody")
    return {"number": number}

pipeline = batten.from_range(20).map(work).write_parquet("out/")
"""


def test_a_pipe_of_the_items_own_is_its_own_failure(job: JobFolder) -> None:
    assert job.write(OWN_PIPE).run().code == 3
    assert list(job.quarantined()) == ["7"]


KILLED_BY_THE_PIPE = """
import signal
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as many scripts have it
"""


def test_a_job_that_would_die_of_it(job: JobFolder) -> None:
    write_job(job, "the descriptor", "processes")
    text = (job.path / "job.py").read_text()
    (job.path / "job.py").write_text(KILLED_BY_THE_PIPE + text)
    run = start(job, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert run.stdout is not None
    run.stdout.readline()
    run.stdout.close()
    (job.path / "go").open("w").close()
    assert run.wait(PATIENCE_SECONDS) == 0
    check_complete(job)


FROM_PYTHON = """
import sys, batten

def work(number):
    print("did", number, "naïve", "\\udcff")
    return {"number": number}

if __name__ == "__main__":
    pipeline = batten.from_range(60).map(work).write_parquet("out/")
    before = sys.stdout
    report = pipeline.run(executor=sys.argv[1], jobs=2)
    assert sys.stdout is before
    sys.exit(10 if report.status == "complete" and not report.quarantined else 1)
"""


@pytest.mark.parametrize("executor", ["processes", "threads", "serial"])
@pytest.mark.parametrize("redirect", ["| true", ">&-", "> /dev/full"])
def test_a_run_from_python(tmp_path: Path, executor: str, redirect: str) -> None:
    """Its streams are as before afterwards; that what it prints can't be encoded fails nothing."""
    (tmp_path / "script.py").write_text(FROM_PYTHON)
    line = f'"{sys.executable}" script.py {executor} {redirect}; echo ${{PIPESTATUS[0]}} > code'
    subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        check=False,
        timeout=120,
    )
    assert (tmp_path / "code").read_text() in ("10\n", "120\n")
    assert batten.open(tmp_path / "out").count_rows() == 60
