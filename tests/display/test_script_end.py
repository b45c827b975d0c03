"""A script that an error of a run ends tells it in three lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, signal, sys
import batten

def do(n):
    if n == 1:
        WHAT
    return {"n": n}

BEFORE
if __name__ == "__main__":
    DRIVER = os.getpid()
    batten.from_range(3).map(do).options(on_error="raise", batch_size=1).write_parquet("out").run(
        jobs=1, executor="serial", progress=False
    )
"""

INTERRUPT = "os.kill(DRIVER, signal.SIGINT)"
FAIL = "raise ValueError('no 1')"


def run(
    folder: Path, what: str, *words: str, before: str = "", given: str = ""
) -> subprocess.CompletedProcess[str]:
    path = folder / "script.py"
    path.write_text(SCRIPT.replace("WHAT", what).replace("BEFORE", before))
    return subprocess.run(
        [sys.executable, *words, str(path)],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_interrupted_script_says_that_it_is_safe(tmp_path: Path) -> None:
    ended = run(tmp_path, INTERRUPT)
    assert ended.returncode == 75
    assert ended.stderr.splitlines() == [
        "Stopped by SIGINT.",
        "Everything that was finished is kept; it is safe to run again.",
        "Run the same command again; it resumes: run the pipeline again",
    ]


def test_a_failed_one_shows_the_traceback_of_its_own_code(tmp_path: Path) -> None:
    ended = run(tmp_path, FAIL)
    assert ended.returncode == 1
    assert "line 7, in do" in ended.stderr
    assert "batten/" not in ended.stderr
    assert "The item '1' failed: ValueError: no 1" in ended.stderr


def test_a_refused_one_has_no_traceback(tmp_path: Path) -> None:
    assert run(tmp_path, "pass").returncode == 0
    ended = run(tmp_path, FAIL)
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 3


def test_how_a_pipeline_is_written_needs_the_line(tmp_path: Path) -> None:
    ended = run(tmp_path, "pass", before="batten.from_range(1).map(7)")
    assert ended.returncode == 1
    assert 'script.py", line 10' in ended.stderr
    assert ".map() takes a function" in ended.stderr


def test_development_mode_has_the_whole_traceback(tmp_path: Path) -> None:
    ended = run(tmp_path, INTERRUPT, "-X", "dev", "-W", "ignore")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "InterruptedRunError: Stopped by SIGINT." in ended.stderr


def test_a_hook_of_the_programs_own_stays(tmp_path: Path) -> None:
    hook = "sys.excepthook = lambda kind, error, trace: print('mine:', kind.__name__)"
    ended = run(tmp_path, INTERRUPT, before=hook)
    assert (ended.returncode, ended.stdout) == (1, "mine: InterruptedRunError\n")


@pytest.mark.parametrize("what", [INTERRUPT, FAIL])
def test_a_session_goes_on(tmp_path: Path, what: str) -> None:
    ended = run(tmp_path, what, "-i", "-q", given="print(6 * 7)\n")
    assert (ended.returncode, ended.stdout) == (0, "42\n")
    assert "batten/" not in ended.stderr
