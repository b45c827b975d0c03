"""Runs in different modes at once: one works, the others are busy or refused, and what is there
afterwards is one dataset."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import batten
from batten.inspect.verifying.verify import verify

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

Start = Callable[..., subprocess.Popen[str]]

EXIT_BUSY = 6
PATIENCE_SECONDS = 120.0

JOB = """
    import os

    def scale(number):
        if number == 5 and os.path.exists("here"):
            open("here", "w").close()  # pipes, which open when the test opens them as well
            open("go").close()
        return {"value": number * FACTOR}

    pipeline = (
        batten.from_range(ITEMS).map(scale).options(batch_size=3)
        .write_parquet("out")
    )
"""


def write(job: Folder, factor: int, *, items: int = 9) -> None:
    names = {"FACTOR": factor, "ITEMS": items}
    text = JOB
    for name, value in names.items():
        text = text.replace(name, str(value))
    job.write(text)


@pytest.fixture
def start(job: Folder) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*words: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "batten", "run", "job.py", "--jobs", "1", "--json", *words],
                cwd=job.path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def finish(run: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    out, _ = run.communicate(timeout=PATIENCE_SECONDS)
    return run.returncode, json.loads(out)


def values(job: Folder) -> list[int]:
    return [row["value"] for row in job.rows()]


def check_sound(job: Folder, expected: list[int]) -> None:
    assert values(job) == expected
    assert batten.diagnose(job.path / "out").state == "COMPLETE"
    assert verify(job.path / "out").is_sound
    assert not (job.path / "out.batten/fresh").exists()


@pytest.mark.parametrize(
    ("working", "late"),
    [([], ["--fresh"]), (["--fresh"], []), (["--accept-change"], ["--fresh"])],
    ids=["fresh against a resume", "a resume against fresh", "fresh against an accepted change"],
)
def test_the_late_one_is_busy(
    job: Folder, start: Start, working: list[str], late: list[str]
) -> None:
    """There are three items of factor 1. One run works on the others when the other mode comes."""
    write(job, 1, items=3)
    assert job.run().code == 0
    factor = 2 if working else 1
    for pipe in ("here", "go"):
        os.mkfifo(job.path / pipe)
    write(job, factor)
    first = start(*working)
    (job.path / "here").open().close()  # it holds the lock, and has an item in hand
    code, told = finish(start(*late))
    assert (code, told["status"]) == (EXIT_BUSY, "busy")
    assert values(job)[:3] == [0, 1, 2]
    (job.path / "go").open("w").close()
    code, told = finish(first)
    assert (code, told["status"]) == (0, "complete")
    kept = 3 if working != ["--fresh"] else 0
    check_sound(job, [n * (1 if n < kept else factor) for n in range(9)])


def test_all_modes_at_once(job: Folder, start: Start) -> None:
    """Whoever comes first, the end is one dataset that the last run made or found complete."""
    write(job, 1)
    assert job.run("--limit", "5").code == 0
    write(job, 2)
    modes = [[], ["--fresh"], ["--accept-change"], ["--resume", "never"]]
    ended = [finish(run) for run in [start(*words) for words in modes]]
    for code, told in ended:
        expected = {0: {"complete", "nothing-to-do"}, 5: {"refused"}, EXIT_BUSY: {"busy"}}
        assert told["status"] in expected[code], told
    accepted = [n if n < 5 else 2 * n for n in range(9)]
    anew = [2 * n for n in range(9)]
    found = values(job)
    assert found in (accepted[:5], accepted, anew)
    assert any(code == 0 for code, _ in ended) == (found != accepted[:5])
    end = job.run("--accept-change", "--quiet")
    assert end.code == 0
    check_sound(job, anew if found == anew else accepted)
