"""`batten work` by several processes that see one bucket, killed, stopped and woken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import batten
from batten.storage.objects.store import BucketStore

ITEMS, GATE_AT = 40, 10
EXIT_INTERRUPTED = 75
SECONDS_MAX = 120.0

JOB = """
import os, pathlib, time
import batten

def work(number):
    batten.usage(calls=1)
    while number >= {gate_at} and not pathlib.Path("gate").exists():
        time.sleep(0.01)
    with open("done.log", "a") as log:
        log.write(f"{{number}} {{os.environ['WHO']}}\\n")
    return {{"number": number}}

made = batten.from_range({items}).map(work).options(batch_size=5)
pipeline = made.write_parquet("{output}")
"""


class Workers:
    """Each in a folder of its own: they see nothing in common but the bucket, and the log."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self.output = f"{prefix}/rows"
        (folder / "job.py").write_text(JOB.format(items=ITEMS, gate_at=GATE_AT, output=self.output))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, who: str, *options: str) -> subprocess.Popen[bytes]:
        words = ["work", "job.py", "--jobs", "1", "--gone-after", "6", *options]
        with (self._folder / f"{who}.out").open("ab") as out:
            self._running[who] = subprocess.Popen(
                [sys.executable, "-m", "batten", *words],
                cwd=self._folder,
                env={**os.environ, "WHO": who},
                stdout=out,
                stderr=out,
            )
        return self._running[who]

    def told(self, who: str) -> str:
        return (self._folder / f"{who}.out").read_text()

    def who_did(self) -> list[str]:
        try:
            lines = (self._folder / "done.log").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line.split()[1] for line in lines]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + SECONDS_MAX
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError({who: self.told(who) for who in self._running})
            time.sleep(0.05)

    def open_gate(self) -> None:
        (self._folder / "gate").touch()

    def end(self, who: str) -> int:
        return self._running[who].wait(SECONDS_MAX)

    def stop_all(self) -> None:
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def check_rows(self) -> None:
        rows = batten.open(self.output).to_arrow().column("number").to_pylist()
        assert rows == list(range(ITEMS))
        prefix = self.output.removesuffix("/rows")
        assert list(BucketStore(prefix).list_names("rows.batten/staged")) == []


@pytest.fixture
def workers(prefix: str, tmp_path: Path) -> Iterator[Workers]:
    made = Workers(tmp_path, prefix)
    try:
        yield made
    finally:
        made.stop_all()


def test_two_do_the_job_and_the_second_goes_on_where_the_run_was_killed(workers: Workers) -> None:
    first = workers.start("first")
    workers.wait_until(lambda: bool(workers.who_did()))
    workers.start("second")
    workers.wait_until(lambda: "Working for the run" in workers.told("second"))
    first.kill()
    first.wait()  # Until then it counts as alive.
    workers.open_gate()
    assert workers.end("second") == 0, workers.told("second")
    workers.check_rows()


def test_a_budget_holds_over_both_machines(workers: Workers) -> None:
    budget = 14
    workers.start("first", "--budget", f"calls={budget}")
    workers.wait_until(lambda: len(workers.who_did()) == GATE_AT)
    workers.start("second")
    workers.wait_until(lambda: "Working for the run" in workers.told("second"))
    workers.open_gate()
    assert workers.end("first") == EXIT_INTERRUPTED, workers.told("first")
    assert workers.end("second") == EXIT_INTERRUPTED, workers.told("second")
    usage = batten.diagnose(workers.output).contents.usage
    assert usage is not None
    lost = sum(usage.lost_at_most.values())
    assert len(workers.who_did()) <= usage.total["calls"] <= budget
    assert budget - lost <= usage.total["calls"]


@pytest.mark.crash
def test_a_worker_that_slept_past_its_claims_harms_nothing(workers: Workers) -> None:
    workers.start("first")
    workers.wait_until(lambda: bool(workers.who_did()))
    second = workers.start("second")
    workers.wait_until(lambda: "Working for the run" in workers.told("second"))
    second.send_signal(signal.SIGSTOP)
    workers.open_gate()
    assert workers.end("first") == 0, workers.told("first")
    second.send_signal(signal.SIGCONT)
    assert workers.end("second") == 0, workers.told("second")
    workers.check_rows()
