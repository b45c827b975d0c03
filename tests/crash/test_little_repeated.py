"""After a kill of everything only what was in hand is done again: calls are counted by a file that
the user's function adds to."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

from batten.crashlab.faults import KillAfter, KillBefore
from batten.crashlab.sweeping import Experiment, Trail, run_trail, sweep
from batten.crashlab.tracing.system_calls import CallKind
from batten.work.staged.staging_pace import ANSWERS_MAX

pytestmark = needs_tracing

JOBS = 2

COUNTS_CALLS = """
import os, time
import batten

def work(number):
    calls = os.open("calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(calls, b"%d\\n" % number)
    os.close(calls)
    time.sleep({seconds})
    return {{"number": number}}

pipeline = (
    batten.from_range({items}).map(work).write_parquet("features/").options(batch_size={batch})
)
"""


def experiment(
    items: int, seconds: float, batch: int, repeated_max: int, own_workers: int = 0
) -> Experiment:
    """A kill may cost `repeated_max` calls."""

    def prepare(folder: Path) -> None:
        text = COUNTS_CALLS.format(items=items, seconds=seconds, batch=batch)
        if own_workers:
            text = text.replace(".map(work)", f".map(work, concurrency={own_workers})")
        (folder / "job.py").write_text(text)

    def check_calls(folder: Path, trail: Trail) -> None:
        calls = (folder / "calls").read_text().split()
        killed = sum(run.was_triggered for run in trail.runs)
        assert set(map(int, calls)) == set(range(items))
        assert len(calls) - items <= killed * repeated_max

    batten = str(Path(sys.executable).with_name("batten"))
    return Experiment(
        prepare=prepare,
        command=lambda folder: [batten, "run", "job.py", "--jobs", str(JOBS), "--quiet"],
        folders=lambda folder: [folder / name for name in ("features", "features.batten", "calls")],
        check=check_calls,
        is_forked=True,
    )


@pytest.mark.parametrize("sample", [3, pytest.param(None, marks=pytest.mark.crash, id="all")])
def test_slow_items_at_most_one_in_each_worker(
    sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    report = sweep(
        experiment(items=8, seconds=0.26, batch=3, repeated_max=JOBS),
        tmp_path / "sweep",
        faults=[KillBefore, partial(KillAfter, path="*/calls")],
        sample=sample,
        seed=seeded.getrandbits(32),
    )
    report.raise_on_failures()


@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash, id="all")])
def test_slow_items_in_a_steps_own_worker_at_most_one_for_each_who_asks(
    sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    report = sweep(
        experiment(items=5, seconds=0.26, batch=3, repeated_max=JOBS, own_workers=1),
        tmp_path / "sweep",
        faults=[KillBefore, partial(KillAfter, path="*/calls")],
        sample=sample,
        seed=seeded.getrandbits(32),
    )
    report.raise_on_failures()


@pytest.mark.parametrize("moments", [[72], [72, 60]], ids=["once", "twice"])
def test_quick_items_about_a_quarter_of_a_second_in_each_worker(
    moments: list[int], tmp_path: Path
) -> None:
    """Twelve items of twenty milliseconds take as long; twice that is allowed. At that moment the
    workers would have some seventy in hand if they put nothing aside."""
    subject = experiment(items=300, seconds=0.02, batch=300, repeated_max=2 * JOBS * 12)
    calls = frozenset({CallKind.WRITE})
    faults = [KillAfter(moment, path="*/calls", kinds=calls) for moment in moments]
    outcome = run_trail(subject, tmp_path / "trail", faults)
    assert outcome.problem is None, outcome.problem
    assert all(run.was_triggered for run in outcome.trail.runs[: len(faults)])


KILLS_ITSELF = """
import os, signal, time
import batten

def work(number):
    calls = os.open("calls", os.O_RDWR | os.O_APPEND | os.O_CREAT)
    os.write(calls, b"%5d\\n" % number)
    if os.lseek(calls, 0, os.SEEK_CUR) == 6 * {moment}:  # where this very line ends
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(calls)
    time.sleep(0.1)
    return {{"number": number}}

pipeline = batten.from_range({items}).map(work).write_parquet("features/")
if __name__ == "__main__":
    pipeline.run(jobs={jobs}, executor="threads", progress=False)
"""


def count_repeated(folder: Path, text: str, items: int) -> int:
    """Calls that are made again after the job of that text has killed itself once."""
    (folder / "job.py").write_text(text)
    codes = [
        subprocess.run([sys.executable, "job.py"], cwd=folder, check=False).returncode
        for _ in range(2)
    ]
    assert codes == [-signal.SIGKILL, 0]
    calls = list(map(int, (folder / "calls").read_text().split()))
    assert set(calls) == set(range(items))
    return len(calls) - items


def test_slow_calls_in_fifty_threads_at_most_those_in_flight(tmp_path: Path) -> None:
    """No thread begins a call before its answer is put aside, together with those of others."""
    items, jobs = 400, 50
    text = KILLS_ITSELF.format(moment=275, items=items, jobs=jobs)
    assert count_repeated(tmp_path, text, items) <= jobs


AWAITED = """
import asyncio, os, signal, time
import batten
from batten.work.staged import staging

put_aside = staging.put_aside

def put_aside_slowly(*arguments, **named):
    time.sleep(0.05)  # as on a slow disk
    put_aside(*arguments, **named)

staging.put_aside = put_aside_slowly

async def work(number):
    calls = os.open("calls", os.O_RDWR | os.O_APPEND | os.O_CREAT)
    os.write(calls, b"%5d\\n" % number)
    if os.lseek(calls, 0, os.SEEK_CUR) == 6 * {moment}:  # where this very line ends
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(calls)
    await asyncio.sleep(0.1)
    return {{"number": number}}

pipeline = batten.from_range({items}).map(work, concurrency={jobs}).write_parquet("features/")
if __name__ == "__main__":
    pipeline.run(progress=False)
"""


@pytest.mark.parametrize("moment", [90, 190])
def test_awaited_calls_that_end_together_at_most_those_in_flight_and_ten_more(
    moment: int, tmp_path: Path
) -> None:
    """Of fifty that end at one moment the answers are put aside before fifty more are begun."""
    items, jobs = 250, 50
    text = AWAITED.format(moment=moment, items=items, jobs=jobs)
    assert count_repeated(tmp_path, text, items) <= jobs + ANSWERS_MAX
