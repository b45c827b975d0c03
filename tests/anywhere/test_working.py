"""`batten work` by several processes that see one folder, killed, stopped and woken."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from batten.executors.call_rates import BURST_SECONDS
from batten.storage.changing.faults import COUNT_STEPS
from batten.testing import kill_at_step

ITEMS = 60
CALLS, CALLS_A_SECOND = 20, 200
EXIT_QUARANTINED, EXIT_REFUSED, EXIT_STORAGE, EXIT_INTERRUPTED = 3, 5, 7, 75


NEVER, SOON = 600.0, 2.0
"""After how many seconds without a sign a worker is given up: on a busy machine, too."""


def begin_two(machines: Any, *, gate_at: int = 20, gone_after: float = NEVER, **how: Any) -> None:
    """The first does the run, and the second has work in hand."""
    machines.write(ITEMS, gate_at=gate_at, **how)
    machines.start("first", gone_after=gone_after)
    machines.wait_until(lambda: machines.has_begun("first"))
    machines.start("second", gone_after=gone_after)
    machines.wait_until(lambda: has_claimed(machines, "second"))


def has_claimed(machines: Any, who: str) -> bool:
    """Whether a register says that it has begun something."""
    pid = f'"pid": {machines._running[who].pid},'
    found = (machines.folder / "out/rows.batten/workers").glob("*.json")
    texts = [path.read_text() for path in found if path.name != "board.json"]
    return any(pid in text and '"begins": []' not in text for text in texts)


def check_rows(machines: Any) -> None:
    assert machines.numbers() == list(range(ITEMS))
    assert machines.batten("verify", "out/rows").returncode == 0


def test_two_do_the_job_together_and_both_say_that_it_is_done(machines: Any) -> None:
    begin_two(machines)
    machines.open_gate()
    assert (machines.end("first"), machines.end("second")) == (0, 0), machines.told("second")
    check_rows(machines)
    assert set(machines.count_done().values()) == {1}
    assert set(machines.who_did().values()) == {"first", "second"}
    assert "has ended: complete" in machines.told("second")


def test_who_is_at_work_is_told_and_what_they_have_in_hand(machines: Any) -> None:
    begin_two(machines)
    told = json.loads(machines.batten("diagnose", "out/rows", "--json").stdout)
    (worker,) = told["workers"]
    assert worker["pid"] == machines._running["second"].pid
    assert 0 < worker["tasks"] <= worker["slots"] == 2
    assert worker["oldest"]
    assert f"process {worker['pid']} on" in machines.batten("show", "out/rows").stdout
    machines.open_gate()
    assert (machines.end("first"), machines.end("second")) == (0, 0)
    assert json.loads(machines.batten("diagnose", "out/rows", "--json").stdout)["workers"] == []


def test_functions_that_await_are_called_on_both_within_one_rate(machines: Any) -> None:
    machines.write(1200, gate_at=300, body='open("ended", "a").write(f"{time.monotonic()}\\n")')
    limits = f"limits=batten.Limits(requests_per_minute={CALLS_A_SECOND * 60})"
    make_awaiting(machines, f"concurrency={CALLS}, {limits}")
    machines.start("first", gone_after=NEVER)
    machines.wait_until(lambda: machines.has_begun("first"))
    machines.start("second", gone_after=NEVER)
    machines.wait_until(lambda: has_claimed(machines, "second"))
    opened = time.monotonic()
    machines.open_gate()
    assert (machines.end("first"), machines.end("second")) == (0, 0), machines.told("second")
    assert machines.numbers() == list(range(1200))
    assert set(machines.who_did().values()) == {"first", "second"}
    assert set(machines.count_done().values()) == {1}
    ends = [float(line) for line in (machines.folder / "ended").read_text().split()]
    after = [end for end in ends if end > opened]
    # However slow the machine is: what both let through at once, and in hand, is no more than this.
    assert max(after) - opened >= (len(after) - 2 * CALLS) / CALLS_A_SECOND - 2 * BURST_SECONDS


def make_awaiting(machines: Any, options: str) -> None:
    """The function is one that awaits."""
    text = (machines.folder / "job.py").read_text()
    text = text.replace("def work", "async def work").replace("time.sleep", "await asyncio.sleep")
    text = text.replace(".map(work)", f".map(work, {options})").replace("batch_size=10", "")
    (machines.folder / "job.py").write_text(text.replace("import os", "import asyncio, os"))


def test_others_do_what_waits_for_another_try_where_a_worker_leaves(machines: Any) -> None:
    fails = 'if os.environ["WHO"] == "second" and number % 2: raise ConnectionError("no")'
    machines.write(1200, gate_at=300, body=fails)
    job = machines.folder / "job.py"
    waits = "number >= 300 and os.environ['WHO'] == 'first'"
    job.write_text(job.read_text().replace("number >= 300", waits))
    make_awaiting(machines, f"concurrency={CALLS}, retries=9")
    machines.start("first", gone_after=NEVER)
    machines.wait_until(lambda: machines.has_begun("first"))
    machines.start("second", gone_after=NEVER)
    machines.wait_until(lambda: machines.has_begun("second"))
    machines._running["second"].send_signal(signal.SIGTERM)
    assert machines.end("second") == EXIT_INTERRUPTED, machines.told("second")
    machines.open_gate()
    assert machines.end("first") == 0, machines.told("first")
    assert machines.numbers() == list(range(1200))


def test_one_goes_on_where_the_run_was_killed(machines: Any) -> None:
    begin_two(machines, gone_after=SOON)
    machines._running["first"].kill()
    machines.open_gate()
    assert machines.end("second") == 0, machines.told("second")
    check_rows(machines)


def test_workers_are_killed_at_some_steps(machines: Any) -> None:
    check_workers_killed_at(machines, [3, 9, 14])


@pytest.mark.crash
@pytest.mark.parametrize("steps", [range(1, 13), range(13, 25), range(25, 37)])
def test_workers_are_killed_at_each_step(machines: Any, steps: range) -> None:
    check_workers_killed_at(machines, steps)


def check_workers_killed_at(machines: Any, steps: Iterable[int]) -> None:
    """All of one run, each worker at a step of its own: what is left is judged once."""
    machines.write(ITEMS, gate_at=20)
    machines.start("first")
    machines.wait_until(lambda: machines.has_begun("first"))
    workers = [machines.start(f"worker-{n}", environment=kill_at_step(n)) for n in steps]
    machines.open_gate()
    assert machines.end("first") == 0, machines.told("first")
    ends = {worker.wait(machines.seconds_max) for worker in workers}
    assert ends <= {0, -signal.SIGKILL}
    check_rows(machines)


@pytest.mark.crash
def test_the_run_is_killed_at_each_kind_of_step(new_machines: Any, tmp_path: Path) -> None:
    counts = tmp_path / "steps"
    kill_the_run(new_machines("counted"), {COUNT_STEPS: str(counts)})
    for number in find_last_of_each_kind(counts.read_text().splitlines()):
        killed = new_machines(str(number))
        kill_the_run(killed, kill_at_step(number))
        shutil.rmtree(killed.folder)


def kill_the_run(machines: Any, environment: Mapping[str, str]) -> None:
    """The first one, which another works for."""
    machines.write(ITEMS, gate_at=20)
    machines.start("first", environment=environment)
    machines.wait_until(lambda: machines.has_begun("first") or machines.has_ended("first"))
    machines.start("second")
    machines.open_gate()
    assert machines.end("second") == 0, machines.told("second")
    assert machines.end("first") in (0, -signal.SIGKILL), machines.told("first")
    check_rows(machines)


def find_last_of_each_kind(steps: list[str]) -> list[int]:
    """The numbers of the last step of each name on each kind of file: others leave the same. Those
    before the board lies there are the steps of any run."""
    last = {re.sub(r"[0-9a-f]{8,}|[0-9]+", "#", step): n for n, step in enumerate(steps, 1)}
    board = next(n for n, step in enumerate(steps, 1) if step.endswith("workers/board.json"))
    return sorted(n for n in last.values() if n >= board)


def test_one_that_slept_past_its_claims_harms_nothing(machines: Any) -> None:
    begin_two(machines, gone_after=SOON)
    machines._running["second"].send_signal(signal.SIGSTOP)
    machines.wait_until(lambda: "A worker is gone" in machines.told("first"))
    machines.open_gate()
    assert machines.end("first") == 0, machines.told("first")
    before = machines.parts()
    machines._running["second"].send_signal(signal.SIGCONT)
    assert machines.end("second") == 0, machines.told("second")
    check_rows(machines)
    assert machines.parts() == before


def test_another_code_is_refused(machines: Any) -> None:
    machines.write(ITEMS, gate_at=20)
    machines.start("first")
    machines.wait_until(lambda: machines.has_begun("first"))
    text = (machines.folder / "job.py").read_text()
    (machines.folder / "other.py").write_text(text.replace("number * number", "number + number"))
    machines.start("second", job="other.py")
    assert machines.end("second") == EXIT_REFUSED
    assert "The job is another one here" in machines.told("second")
    machines.open_gate()
    assert machines.end("first") == 0
    check_rows(machines)


def test_a_signal_lets_a_worker_end_what_it_has_in_hand(machines: Any) -> None:
    begin_two(machines)
    machines._running["second"].send_signal(signal.SIGTERM)
    machines.wait_until(lambda: "draining" in machines.told("second"))
    machines.open_gate()
    # If the run ends meanwhile, nothing is left to be stopped.
    assert machines.end("second") in (0, EXIT_INTERRUPTED), machines.told("second")
    assert machines.end("first") == 0
    check_rows(machines)
    assert set(machines.count_done().values()) == {1}
    assert "A worker is gone" not in machines.told("first")


def test_a_worker_that_a_signal_stops_does_not_come_back(machines: Any) -> None:
    begin_two(machines)
    machines._running["second"].send_signal(signal.SIGTERM)
    # What it has in hand waits at the gate, and is cut off when its time is over.
    assert machines.end("second") == EXIT_INTERRUPTED, machines.told("second")
    assert machines.told("second").count("Working for the run") == 1
    machines.open_gate()
    assert machines.end("first") == 0
    check_rows(machines)


def test_an_item_that_kills_workers_is_set_aside(machines: Any) -> None:
    begin_two(machines, body="number == 45 and os._exit(9)")
    machines.open_gate()
    assert machines.end("first") == EXIT_QUARANTINED, machines.told("first")
    assert machines.end("second") == EXIT_QUARANTINED, machines.told("second")
    assert machines.numbers() == [n for n in range(ITEMS) if n != 45]
    assert machines.count_done()[45] == 2


def test_a_run_that_fails_ends_its_workers_alike(machines: Any) -> None:
    begin_two(machines, body="number >= 20 and 1 / 0", options=", on_error='raise'")
    machines.open_gate()
    assert machines.end("first") == 1, machines.told("first")
    assert machines.end("second") == 1, machines.told("second")
    assert "ZeroDivisionError" in machines.told("second")


CLASS = """
class Square:
    def __init__(self):
        if os.environ.get("WHO") == "second":
            os._exit(9)

    def __call__(self, row):
        return {**row, "square": row["number"] ** 2}

made = made.map(Square, concurrency=1)
"""


def test_a_machine_whose_own_workers_all_end_leaves_what_it_has_to_others(machines: Any) -> None:
    machines.write(ITEMS, gate_at=20)
    text = (machines.folder / "job.py").read_text()
    (machines.folder / "job.py").write_text(text.replace("\npipeline", f"{CLASS}\npipeline"))
    machines.start("first", gone_after=NEVER)
    machines.wait_until(lambda: machines.has_begun("first"))
    machines.start("second", "--drain-seconds", "0", gone_after=NEVER)
    assert machines.end("second") == 1, machines.told("second")
    assert "workers in a row ended with no item in hand" in machines.told("second")
    machines.open_gate()
    assert machines.end("first") == 0, machines.told("first")
    check_rows(machines)


def test_a_worker_is_refused_what_the_run_would_be_refused(machines: Any) -> None:
    machines.write(ITEMS, gate_at=20)
    machines.start("first")
    machines.wait_until(lambda: machines.has_begun("first"))
    machines.start("second", "--memory-max", "900TB")
    assert machines.end("second") == EXIT_REFUSED, machines.told("second")
    assert "2 workers may use 900" in machines.told("second")
    machines.open_gate()
    assert machines.end("first") == 0, machines.told("first")
    check_rows(machines)


def test_a_worker_that_can_not_read_the_inputs_is_refused(machines: Any) -> None:
    folder = machines.folder
    (folder / "in").mkdir()
    for number in range(ITEMS):
        (folder / "in" / f"{number:02}.txt").write_text(str(number))
    machines.output = str(folder / "out/rows")
    machines.write(ITEMS, gate_at=20, body="number = int(number)")
    text = (folder / "job.py").read_text()
    text = text.replace(f"from_range({ITEMS})", 'from_files("in/*.txt")')
    text = text.replace("def work(number):", "def work(path):\n    number = int(path.read_text())")
    (folder / "job.py").write_text(text)
    machines.start("first", gone_after=NEVER)
    machines.wait_until(lambda: machines.has_begun("first"))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    machines.start("second", "--paths-from", str(elsewhere), gone_after=NEVER)
    assert machines.end("second") == EXIT_STORAGE, machines.told("second")
    assert "The input elsewhere/in can't be read" in machines.told("second")
    machines.open_gate()
    assert machines.end("first") == 0, machines.told("first")
    check_rows(machines)


def test_a_worker_may_open_as_many_files_as_its_machine_allows(machines: Any) -> None:
    machines.write(
        ITEMS,
        gate_at=20,
        body="(pathlib.Path(os.environ['WHO'])).write_text(str("
        "__import__('resource').getrlimit(7)[0]))",
    )
    machines.start("first", gone_after=NEVER)
    machines.wait_until(lambda: machines.has_begun("first"))
    machines.start("second", gone_after=NEVER, within=("prlimit", "--nofile=200:400"))
    machines.wait_until(lambda: has_claimed(machines, "second"))
    machines.open_gate()
    assert (machines.end("first"), machines.end("second")) == (0, 0), machines.told("second")
    assert (machines.folder / "second").read_text() == "400"
