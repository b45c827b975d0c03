"""Two machines do what one does: what is quarantined, tried again, cut off, drawn and counted."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from batten.ledger.history.usage import list_marks
from batten.model.disk.names import Layout
from batten.model.disk.runs.usage_lines import UseLine, decode_usage_line
from batten.storage.local.folder import LocalStorage

EXIT_QUARANTINED, EXIT_INTERRUPTED = 3, 75
NEVER, SOON = 600.0, 2.0
ITEMS, GATE_AT = 60, 10
MEMORY = ("--memory-max", "600MB")

JOB = """
import os, pathlib, random, time
from decimal import Decimal
import batten

def work(number):
    while number >= 10 and not pathlib.Path("gate").exists():
        time.sleep(0.01)
    with open("done.log", "a") as log:
        log.write(f"{number} {os.environ.get('WHO', '')}\\n")
    batten.usage(calls=1, cost=Decimal("0.1"))
    if number == 13:
        raise ValueError("no such number")
    if number == 23:
        raise OSError("never there")
    if number == 33 and not pathlib.Path("second").exists():
        pathlib.Path("second").touch()
        raise OSError("not there yet")
    if number == 43:
        time.sleep(600)
    if number == 53:
        os._exit(9)
    if number == 56:
        return {"number": number, "drawn": 0.0, "held": len(bytearray(1 << 30))}
    return {"number": number, "drawn": random.random(), "held": 0}

pipeline = (
    batten.from_range(60)
    .map(work, retries=2, retry_on=(OSError,), timeout_seconds=3)
    .options(batch_size=10, seed=7)
    .write_parquet("out/rows")
)
"""


def write_job(machines: Any) -> None:
    (machines.folder / "job.py").write_text(JOB)


def begin_two(machines: Any) -> None:
    """Both have work in hand, and none goes beyond the first items."""
    machines.start("first", *MEMORY, gone_after=NEVER)
    machines.wait_until(lambda: machines.has_begun("first"))
    machines.start("second", *MEMORY, gone_after=NEVER)
    machines.wait_until(lambda: len(machines.claims()) == 1)


def read_rows(machines: Any) -> list[tuple[int, float]]:
    parts = sorted((machines.folder / "out/rows").glob("*.parquet"))
    tables = [pq.read_table(part) for part in parts]
    return [(row["number"], row["drawn"]) for table in tables for row in table.to_pylist()]


def tell_quarantined(shown: Any) -> list[tuple[str, str, int]]:
    """Of each: how much memory it had is another each time."""
    return [
        (each["key"], each["error"].partition(" at ")[0], each["attempts"])
        for each in shown["quarantined"]
    ]


def show(machines: Any) -> Any:
    return json.loads(machines.batten("show", "out/rows", "--json").stdout)


def test_two_end_as_one_does(machines: Any, new_machines: Callable[[str], Any]) -> None:
    alone = new_machines("alone")
    write_job(alone)
    alone.open_gate()
    assert alone.batten("run", "job.py", "--jobs", "2", *MEMORY).returncode == EXIT_QUARANTINED
    write_job(machines)
    begin_two(machines)
    machines.open_gate()
    assert machines.end("first") == EXIT_QUARANTINED, machines.told("first")
    assert machines.end("second") == EXIT_QUARANTINED, machines.told("second")
    assert set(machines.who_did().values()) == {"first", "second"}
    one, two = show(alone), show(machines)
    assert [key for key, _, _ in tell_quarantined(one)] == ["13", "23", "43", "53", "56"]
    assert tell_quarantined(two) == tell_quarantined(one)
    assert read_rows(machines) == read_rows(alone)
    assert two["items"] == one["items"]
    for shown, done in ((one, alone), (two, machines)):
        # Each call told one, and none of them is lost or counted twice.
        assert shown["usage"]["total"]["calls"] == sum(done.count_done().values())
        assert shown["usage"]["kept"] == {"calls": 55, "cost": 5.5}
        assert shown["usage"]["failed_tries"] == {"calls": 1, "cost": 0.1}
    assert two["usage"]["quarantined"] == one["usage"]["quarantined"]


def test_calls_that_a_lost_machine_had_in_hand_are_counted_as_lost(machines: Any) -> None:
    machines.write(ITEMS, gate_at=GATE_AT, body="batten.usage(calls=1)")
    machines.start("first", gone_after=SOON)
    machines.wait_until(lambda: machines.has_begun("first"))
    machines.start("second", gone_after=SOON)
    machines.wait_until(lambda: len(machines.claims()) == 1)
    machines._running["second"].kill()
    machines.wait_until(lambda: "A worker is gone" in machines.told("first"))
    machines.open_gate()
    assert machines.end("first") == 0, machines.told("first")
    usage = show(machines)["usage"]
    assert usage["kept"] == {"calls": ITEMS}
    assert 1 <= usage["lost"]["calls"] <= ITEMS
    assert usage["lost"]["at_most"] == {"calls": usage["lost"]["calls"]}


TELLING = """
import os, pathlib, time
import batten

def work(number):
    batten.usage(calls=1)
    while number >= 10 and not pathlib.Path("gate").exists():
        time.sleep(0.01)
    with open("done.log", "a") as log:
        log.write(f"{number} {os.environ.get('WHO', '')}\\n")
    return {"number": number}

pipeline = batten.from_range(60).map(work).options(batch_size=10).write_parquet("out/rows")
"""


def count_begun(machines: Any) -> int:
    """By the register of the one worker that there is."""
    (path,) = set((machines.folder / "out/rows.batten/workers").glob("*-*.json"))
    return len(json.loads(path.read_text())["begins"])


def waits_at_gate(journal: Path) -> bool:
    """Whether an item has told what it used that is not done before the gate is open."""
    lines = map(decode_usage_line, journal.read_bytes().split(b"\n"))
    return any(isinstance(line, UseLine) and line.item >= GATE_AT for line in lines)


def test_calls_of_a_worker_are_counted_if_the_run_is_killed_as_well(machines: Any) -> None:
    (machines.folder / "job.py").write_text(TELLING)
    begin_two(machines)
    machines.stop_all()
    marks = list_marks(LocalStorage(machines.folder / "out"), Layout("rows"))
    lost = sum(marks.values()) + count_begun(machines)
    assert show(machines)["usage"]["lost"]["calls"] == lost
    machines.open_gate()
    for _ in range(2):
        assert machines.batten("run", "job.py", "--jobs", "2").returncode == 0
        assert show(machines)["usage"]["lost"]["calls"] == lost
    # Those that had told something before they were lost have told it.
    assert show(machines)["usage"]["kept"] == {"calls": ITEMS}


def test_what_a_leaving_worker_can_not_write_down_is_told_and_counted(machines: Any) -> None:
    (machines.folder / "job.py").write_text(TELLING)
    machines.start("first", gone_after=NEVER)
    machines.wait_until(lambda: machines.has_begun("first"))
    runs = machines.folder / "out/rows.batten/runs"
    of_first = set(runs.glob("*.usage"))
    # With one process, the call that waits at the gate is the last one that tells anything.
    machines.start("second", "--jobs", "1", "--drain-seconds", "0", gone_after=NEVER)
    machines.wait_until(lambda: any(map(waits_at_gate, set(runs.glob("*.usage")) - of_first)))
    (journal,) = set(runs.glob("*.usage")) - of_first
    journal.rename(machines.folder / "aside")
    journal.mkdir()
    machines._running["second"].send_signal(signal.SIGTERM)
    assert machines.end("second") == EXIT_INTERRUPTED, machines.told("second")
    assert "could not be written down" in machines.told("second")
    begun = count_begun(machines)
    assert begun
    journal.rmdir()
    (machines.folder / "aside").rename(journal)
    machines.stop_all()
    marks = list_marks(LocalStorage(machines.folder / "out"), Layout("rows"))
    assert show(machines)["usage"]["lost"]["calls"] == sum(marks.values()) + begun


PAYING = """
import os, pathlib, time
import batten

def work(number):
    batten.usage(cost=1)
    with open("done.log", "a") as log:
        log.write(f"{number} {os.environ.get('WHO', '')}\\n")
    while not pathlib.Path("gate").exists():
        time.sleep(0.01)
    return {"number": number}

pipeline = batten.from_range(60).map(work).options(batch_size=10).write_parquet("out/rows")
"""


def test_a_budget_holds_over_all_machines(machines: Any) -> None:
    """Whichever does the run: the second is not even told what the budget is."""
    budget = 12
    (machines.folder / "job.py").write_text(PAYING)
    machines.start("first", "--budget", str(budget), gone_after=NEVER)
    # The first item is the only one in hand, and ends when the second machine is there.
    machines.wait_until(lambda: machines.has_begun("first"))
    machines.start("second", gone_after=NEVER)
    machines.wait_until(lambda: "Working for the run" in machines.told("second"))
    machines.open_gate()
    assert machines.end("first") == EXIT_INTERRUPTED, machines.told("first")
    assert machines.end("second") == EXIT_INTERRUPTED, machines.told("second")
    usage = show(machines)["usage"]
    assert (usage["total"], usage["lost"]["calls"]) == ({"cost": budget}, 0)
    assert sum(machines.count_done().values()) == budget
    # With a larger one it goes on, and stops there.
    machines.start("third", "--budget", str(2 * budget), gone_after=NEVER)
    assert machines.end("third") == EXIT_INTERRUPTED, machines.told("third")
    assert sum(machines.count_done().values()) == 2 * budget


def test_who_takes_over_the_run_keeps_its_budget(machines: Any) -> None:
    """What the killed run had in hand counts as if it were paid."""
    budget = 12
    (machines.folder / "job.py").write_text(PAYING)
    machines.start("first", "--budget", str(budget), gone_after=SOON)
    machines.wait_until(lambda: machines.has_begun("first"))
    machines.start("second", gone_after=SOON)
    machines.wait_until(lambda: "Working for the run" in machines.told("second"))
    machines._running["first"].kill()
    machines._running["first"].wait()
    machines.open_gate()
    assert machines.end("second") == EXIT_INTERRUPTED, machines.told("second")
    usage = show(machines)["usage"]
    assert usage["total"]["cost"] + usage["lost"]["at_most"]["cost"] == budget
    assert f"of {budget} cost is used" in machines.told("second")


def test_the_run_that_is_warned_leaves_the_rest_to_the_other(machines: Any) -> None:
    write_job(machines)
    text = (machines.folder / "job.py").read_text()
    (machines.folder / "job.py").write_text(text.replace("number == 43", "False"))
    begin_two(machines)
    machines._running["first"].send_signal(signal.SIGUSR1)
    machines.wait_until(lambda: "draining" in machines.told("first"))
    machines.open_gate()
    assert machines.end("first") == EXIT_INTERRUPTED, machines.told("first")
    assert machines.end("second") == EXIT_QUARANTINED, machines.told("second")
    assert [number for number, _ in read_rows(machines)] == [
        number for number in range(ITEMS) if number not in (13, 23, 53, 56)
    ]
    assert "A worker is gone" not in machines.told("first")
