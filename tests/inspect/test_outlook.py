"""What ended the last run, and whether the next is likely to end so: by logs and counters."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batten.dataset.runs import read_run
from batten.executors.marks import MarkTable, SlotMark
from batten.inspect.diagnose import diagnose
from batten.inspect.outlook import (
    Likelihood,
    Outlook,
    foresee,
    gather_evidence,
    list_hints,
    tell_disk,
)
from batten.inspect.show import show
from batten.model.sizes import estimate_bytes
from batten.sources.inputs import look_at_input
from batten.storage.local import LocalStorage
from batten.storage.machine import Machine

RUN = "20261121T090000Z-0001"
STARTED = "20261121T080000Z-3f9a"
"""The run that `build` leaves."""
GROUP = "/sys/fs/cgroup/job"

Judge = Callable[..., tuple[list[str], Outlook]]


def make_machine(root: Path, *, boot: str = "b", kills: int = 0) -> Machine:
    for name, text in {
        "proc/sys/kernel/random/boot_id": boot,
        "proc/self/cgroup": "0::/job\n",
        "proc/vmstat": f"oom_kill {kills + 5}\n",
        "groups/job/memory.events": f"oom_kill {kills}\n",
    }.items():
        path = root / "machine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(str(root / "machine/proc"), str(root / "machine/groups"))


@pytest.fixture
def judge(build: Any, tmp_path: Path) -> Judge:
    """The hints and the outlook for a run that logged these lines, on a machine that restarted, or
    that counts so many kills, since."""
    built = build(published=2)

    def judge(
        *events: dict[str, Any], boot: str = "b", kills: int = 0, host: str | None = None
    ) -> tuple[list[str], Outlook]:
        group = str(tmp_path / "machine/groups/job")
        start = {"event": "start", "boot": "b", "host": host or os.uname().nodename}
        start |= {"memory_kills": {"group": group, "in_group": 0, "on_machine": 5}}
        lines = [json.dumps(event) for event in (start, *events)]
        built.write(built.layout.run_log(RUN), "\n".join(lines).encode())
        storage = LocalStorage(built.root)
        run = read_run(storage, built.layout, RUN)
        machine = make_machine(tmp_path, boot=boot, kills=kills)
        evidence = gather_evidence(storage, built.layout, run, machine)
        return list_hints(evidence), foresee(evidence, ())

    return judge


SIGNAL = {"event": "signal", "signal": "SIGTERM", "time": "T"}


def stop(status: str, error: str | None = None) -> dict[str, Any]:
    return {"event": "stop", "status": status, "error": error}


def test_a_kill_for_memory_is_told_by_the_counters(judge: Judge) -> None:
    hints, outlook = judge(kills=2)
    assert any("the kernel has killed 2 of this container's processes" in hint for hint in hints)
    assert outlook.likelihood is Likelihood.YES


def test_a_process_of_the_run_may_be_killed_for_memory_and_the_run_live(judge: Judge) -> None:
    said = stop("failed", "The process that ran join() was killed by signal SIGKILL.")
    hints, outlook = judge(said, kills=1)
    assert any(hint.startswith("out of memory") for hint in hints)
    assert outlook.because.startswith("memory ran out")
    _, outlook = judge(stop("failed", "join() raised KeyError: 7"), kills=1)
    assert outlook.because == "unless the cause of its error is mended"


def test_counters_that_did_not_move_rule_memory_out(judge: Judge) -> None:
    hints, outlook = judge()
    assert "the kernel has killed nothing for want of memory since it began" in hints
    assert outlook.likelihood is Likelihood.UNKNOWN


def test_a_restart_sets_the_counters_back(judge: Judge) -> None:
    hints, outlook = judge(boot="another", kills=2)
    assert "the machine has restarted since" in hints
    assert not any("memory" in hint for hint in hints)
    assert outlook.likelihood is Likelihood.NO


def test_another_machine_says_nothing_of_this_one(judge: Judge) -> None:
    hints, outlook = judge(host="elsewhere", kills=2)
    assert any(hint.startswith("the last run was on elsewhere") for hint in hints)
    assert not any("memory" in hint or "restarted" in hint for hint in hints)
    assert outlook.likelihood is Likelihood.UNKNOWN


@pytest.mark.parametrize(
    ("events", "likelihood", "hint"),
    [
        ([SIGNAL, stop("interrupted", "Stopped by SIGTERM.")], Likelihood.NO, "sent SIGTERM at T"),
        ([SIGNAL], Likelihood.NO, "sent SIGTERM at T"),
        ([stop("failed", "boom")], Likelihood.YES, "stopped by itself (failed): boom"),
        ([stop("complete")], Likelihood.NO, ""),
    ],
)
def test_what_the_run_logged(
    judge: Judge, events: list[dict[str, Any]], likelihood: Likelihood, hint: str
) -> None:
    hints, found = judge(*events)
    assert found.likelihood is likelihood
    assert any(hint in each for each in [*hints, ""])


def test_only_the_last_start_of_a_run_counts(judge: Judge) -> None:
    again = {"event": "start", "boot": "b", "host": os.uname().nodename}
    hints, outlook = judge(SIGNAL, stop("complete"), again)
    assert any(hint.startswith("no end of the last run was logged") for hint in hints)
    assert not any("SIGTERM" in hint for hint in hints)
    assert outlook.likelihood is Likelihood.UNKNOWN


def test_an_input_that_cannot_be_read_is_sure_to_fail(build: Any, tmp_path: Path) -> None:
    built = build(published=2)
    start = {"event": "start", "inputs": [str(tmp_path / "refunds.csv")]}
    built.write(built.layout.lock, b"")
    built.write(built.layout.run_log(RUN), json.dumps(start).encode())
    found = diagnose(built.path)
    assert [each.problem for each in found.inputs] == ["No such file or directory"]
    assert found.again.likelihood is Likelihood.YES
    (tmp_path / "refunds.csv").write_text("id\n")
    assert diagnose(built.path).inputs[0].bytes == 3


def test_a_disk_without_room_for_what_is_pending(tmp_path: Path) -> None:
    assert estimate_bytes([100, 200], 30, 7) == 70
    assert estimate_bytes([], 0, 7) == 0
    assert "too little room" in tell_disk(str(tmp_path), 1 << 60)
    assert "too little room" not in tell_disk(str(tmp_path), 1)


def test_inputs_of_every_kind(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert look_at_input(tmp_path).is_readable
    assert not look_at_input(tmp_path / "pipe").is_readable
    assert not look_at_input(tmp_path / "pipe" / "below").is_readable


def test_garbage_in_the_log_is_no_evidence(build: Any) -> None:
    built = build(published=2)
    for garbage in (
        {"inputs": 5, "memory_kills": [], "boot": 7},
        {"memory_kills": {"in_group": "x"}},
    ):
        line = json.dumps({"event": "start"} | garbage)
        built.write(built.layout.run_log(RUN), line.encode())
        assert diagnose(built.path).state == "INTERRUPTED"


def test_the_screen_answers_what_one_asks_at_night(
    build: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from batten.cli.main import main

    built = build(published=2)
    assert main(["diagnose", str(built.path)]) == 10
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:9]] == [
        *("why", "do", "next", "risky", "items", "output", "readers", "again")
    ]
    assert "see 6 rows in 2 parts, each whole" in lines[7]


def test_only_a_kill_that_is_proven_is_called_one(build: Any) -> None:
    """The lock names who did not let go of it; a run that could not write its log did."""
    built = build(published=2)
    log = built.layout.run_log(RUN)
    unproven = "no end of the last run was logged: it was killed, or could not write its log"
    killed = "the last run was killed: no stop was logged"
    assert killed in diagnose(built.path).hints
    held = built.file(built.layout.lock).read_bytes()
    built.write(built.layout.lock, b"")
    assert diagnose(built.path).hints[0] == unproven
    built.write(built.layout.in_flight(STARTED), b"")
    assert killed in diagnose(built.path).hints
    built.file(built.layout.in_flight(STARTED)).unlink()
    # The disk was full when the log was made.
    built.write(log, b"")
    assert diagnose(built.path).hints[0] == unproven
    built.write(built.layout.lock, held)
    assert diagnose(built.path).hints[0] == (
        "process 4711, which took the lock at 2026-11-21T08:00:00Z, was killed: "
        "it logged nothing, and did not let go of the lock"
    )


def test_a_run_that_was_not_let_begin_is_told_beside_the_one_before(build: Any) -> None:
    built = build(published=2)
    start = {"event": "start", "time": "2026-11-21T09:00:00Z", "inputs": [str(built.root / "no")]}
    refused = stop("refused", "The input can't be read: it is gone.\nMore.")
    lines = "\n".join(map(json.dumps, (start, refused))).encode()
    built.write(built.layout.run_log(RUN), lines)
    found = diagnose(built.path)
    assert found.hints[:2] == (
        "the run of 2026-11-21T09:00:00Z was not let begin: The input can't be read: it is gone.",
        "the last run was killed: no stop was logged",
    )
    assert found.again.likelihood is Likelihood.YES
    # Nothing but that is known where no run ever began.
    built.file(built.layout.run_log(STARTED)).unlink()
    built.write(built.layout.lock, b"")
    assert diagnose(built.path).hints == found.hints[:1]


@pytest.mark.parametrize("is_keyed", [True, False])
def test_what_was_in_hand_is_told_by_its_key(build: Any, is_keyed: bool) -> None:
    """Ordinals at once; other keys where Arrow is loaded, which `diagnose` is too quick for."""
    built = build(published=1, is_keyed=is_keyed)
    marks = MarkTable(2, built.file(built.layout.in_flight(STARTED)))
    for record, item in zip(marks.records, (5, 9), strict=True):
        SlotMark(record).begin(item)
    del record
    marks.close()
    command = f"; by key: batten show {built.path}"
    (hint,) = [hint for hint in diagnose(built.path).hints if "in hand" in hint]
    assert hint == "in hand when it was killed: items 5, 9" + (
        f" of the plan, counted from 0{command}" if is_keyed else ""
    )
    keys = ("clip_0005.mp4", "clip_0009.mp4") if is_keyed else ("5", "9")
    assert show(built.path).in_hand == keys
