"""`--on-end`: the command gets the report, however the run ended, and changes nothing of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

JOB = """
    def measure(n):
        if n == WRONG:
            raise ValueError("no")
        return {"n": n}

    pipeline = batten.from_range(3).map(measure).options(on_error=ON_ERROR).write_parquet("out")
"""

KEEP = 'cat > told.json; echo "$BATTEN_STATUS $BATTEN_EXIT_CODE $BATTEN_OUTPUT" > told'


def make(job: Folder, *, wrong: int = -1, on_error: str = "quarantine") -> Folder:
    return job.write(f"\n    WRONG, ON_ERROR = {wrong}, {on_error!r}\n{JOB}")


def told(folder: Path) -> Any:
    return json.loads((folder / "told.json").read_text())


@pytest.mark.parametrize(
    ("wrong", "on_error", "code", "status"),
    [
        (-1, "quarantine", 0, "complete"),
        (1, "quarantine", 3, "complete"),
        (1, "raise", 1, "failed"),
    ],
)
def test_it_gets_what_json_prints(
    job: Folder, wrong: int, on_error: str, code: int, status: str
) -> None:
    ended = make(job, wrong=wrong, on_error=on_error).run("--json", "--on-end", KEEP)
    assert ended.code == code
    assert ended.json == told(job.path)
    assert told(job.path)["status"] == status
    assert (job.path / "told").read_text() == f"{status} {code} out\n"


def test_without_json_the_report_is_the_same(job: Folder) -> None:
    ended = make(job).run("--on-end", KEEP)
    assert (ended.code, ended.out) == (0, "")
    assert told(job.path)["items"]["committed"] == 3


def test_a_refused_run_and_a_job_that_can_not_be_loaded_tell_it(job: Folder) -> None:
    make(job).run()
    ended = make(job, on_error="raise", wrong=0).run("--on-end", KEEP)
    assert (ended.code, told(job.path)["status"]) == (5, "refused")
    ended = job.write("1 / 0").run("--on-end", KEEP)
    assert (ended.code, told(job.path)["status"]) == (2, "failed")
    assert "ZeroDivisionError" in told(job.path)["error"]["what"]
    assert (job.path / "told").read_text() == "failed 2 \n"


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("exit 3", "ended with exit code 3"),
        ("kill -9 $$", "was killed by SIGKILL"),
        ("no-such-command-here", "ended with exit code 127"),
    ],
)
def test_its_failure_is_a_warning(job: Folder, command: str, how: str) -> None:
    ended = make(job).run("--json", "--on-end", command)
    assert (ended.code, ended.json["status"]) == (0, "complete")
    last = ended.err.splitlines()[-1]
    assert last == f"--on-end: the command {how}. That changes nothing of how the run ended."


def test_it_need_not_read_and_prints_to_standard_error(job: Folder) -> None:
    ended = make(job).run("--json", "--on-end", "exec <&-; echo printed")
    assert (ended.code, ended.json["status"]) == (0, "complete")
    assert ended.err.splitlines()[-1] == "printed"


def test_the_lock_is_free_by_then(job: Folder) -> None:
    again = f"{sys.executable} -m batten run job.py --json > again.json"
    assert make(job).run("--on-end", again).code == 0
    assert json.loads((job.path / "again.json").read_text())["status"] == "nothing-to-do"


def test_a_large_report_is_handed_over_whole(job: Folder) -> None:
    job.write("raise ValueError('x' * 300_000)")
    ended = job.run("--json", "--on-end", KEEP)
    assert ended.code == 2
    assert ended.json == told(job.path)


@pytest.mark.parametrize("word", ["--dry-run", "--preview"])
def test_where_nothing_is_run_nothing_ends(job: Folder, word: str) -> None:
    assert make(job).run(word, "--on-end", KEEP).code == 0
    assert not (job.path / "told").exists()


def test_at_the_time_limit_it_ends_with_all_that_it_started(job: Folder) -> None:
    ended = make(job).run("--on-end", "sleep 20 | cat", "--on-end-seconds", "0.5")
    assert ended.code == 0
    assert "was not done after 0.5 s, and was stopped" in ended.err


@pytest.mark.parametrize("then", ["", "; exec sleep 100"])
def test_what_holds_its_standard_input_holds_up_nothing(job: Folder, then: str) -> None:
    text = "x" * 300_000
    job.write(
        f"""
        def fail(n):
            raise ValueError({text!r})
        pipeline = batten.from_range(1).map(fail).options(on_error="raise").write_parquet("out")
        """
    )
    command = f"exec 3<&0; setsid sleep 100 <&3 & echo $! > sleeper{then}"
    ended = job.run("--on-end", command, "--on-end-seconds", "1")
    os.kill(int((job.path / "sleeper").read_text()), signal.SIGKILL)
    assert ended.code == 1
    assert ("was not done after 1 s" in ended.err) == bool(then)


@pytest.mark.parametrize("seconds", ["-1", "nan"])
def test_a_time_limit_that_can_not_be_is_refused(job: Folder, seconds: str) -> None:
    ended = make(job).run("--on-end", KEEP, "--on-end-seconds", seconds)
    assert ended.code == 2
    assert not (job.path / "told").exists()


INTERRUPTED = """
    import os, signal, time

    def measure(n):
        if n == 0:
            os.kill(DRIVER, signal.SIGINT)
        return {"n": n}

    DRIVER = os.getpid()
    pipeline = batten.from_range(200).map(measure).options(batch_size=1).write_parquet("out")
"""


def test_an_interrupted_run_tells_it(job: Folder) -> None:
    ended = job.write(INTERRUPTED).run("--jobs", "1", "--json", "--on-end", KEEP)
    assert ended.code == 75
    assert ended.json == told(job.path)
    assert told(job.path)["status"] == "interrupted"


WAITING = """
echo begun > begun
trap 'echo heard > heard; exit 9' INT TERM
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_and_the_run_ended_as_it_did(job: Folder, number: int) -> None:
    make(job)
    os.mkfifo(job.path / "begun")
    words = [sys.executable, "-m", "batten", "run", "job.py", "--json", "--on-end", WAITING]
    with subprocess.Popen(
        words, cwd=job.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert (job.path / "begun").read_text() == "begun\n"
        # The shell has its trap when the pipe is closed and its first sleep has begun; one that
        # comes sooner ends it all the same.
        process.send_signal(number)
        out, err = process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["status"] == "complete"
    assert f"was stopped by {signal.Signals(number).name}" in err


def test_without_progress_a_warning_is_told_all_the_same(job: Folder) -> None:
    (job.path / "mine").write_text("mine")
    ended = make(job).run("--quiet", "--metrics", "mine", "--on-end", KEEP)
    assert ended.code == 0
    assert ended.err.count("The metrics file") == 1
    assert "mine can't be written: it has something else in it." in ended.err
    ended = job.run("--quiet", "--metrics", "batten.prom")
    assert "metrics" not in ended.err
    assert (job.path / "batten.prom").read_text().startswith("# HELP batten_items_total ")
