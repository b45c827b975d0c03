"""What ended the last run, and whether the next is likely to end so: by logs and counters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from batten.executors.marks import MarkTable, SlotMark
from batten.inspect.advising.last_end import gather_evidence, list_hints, tell_disk
from batten.inspect.advising.outlook import (
    Likelihood,
    Outlook,
    foresee,
)
from batten.inspect.diagnose import diagnose
from batten.inspect.show import show
from batten.ledger.history.runs import find_last_run, read_run
from batten.model.disk.names import Layout
from batten.model.disk.records import decode_record, encode_record, seal_record
from batten.model.disk.runs.holders import Holder
from batten.model.telling.sizes import estimate_bytes
from batten.sources.inputs import look_at_input
from batten.storage.local.folder import LocalStorage
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
        (
            [stop("interrupted", "Not finished: the vendor has 3 requests.")],
            Likelihood.UNKNOWN,
            "stopped by itself (interrupted): Not finished",
        ),
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
        "the run of 2026-11-21T09:00:00Z did not begin: The input can't be read: it is gone.",
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
    path = built.file(built.layout.in_flight(STARTED))
    marks = MarkTable(2, partial(LocalStorage(path.parent).create_shared, path.name))
    for record, item in zip(marks.records, (5, 9), strict=True):
        SlotMark(record).begin(item)
    del record
    marks.close()
    command = f"; by key: batten show {built.path}"
    (hint,) = [hint for hint in diagnose(built.path).hints if "in hand" in hint]
    numbers = f"6, 10 of the plan, counted from 1{command}" if is_keyed else "5, 9"
    assert hint == f"in hand when it was killed: items {numbers}"
    keys = ("clip_0005.mp4", "clip_0009.mp4") if is_keyed else ("5", "9")
    assert show(built.path).in_hand == keys


PLANS_FOR_EVER = """
import os
import signal
import batten

def items():
    yield "first"
    os.kill(os.getpid(), signal.SIGKILL)

pipeline = batten.from_items(items, key=str).map(lambda item: {"item": item}).write_parquet("out")
"""


def test_memory_that_ran_out_while_the_source_was_planned(tmp_path: Path) -> None:
    """No log was begun: the counters of before are those that the lock keeps."""
    (tmp_path / "job.py").write_text(PLANS_FOR_EVER)
    line = [sys.executable, "-m", "batten", "run", "job.py", "--quiet", "--jobs", "1"]
    assert subprocess.run(line, cwd=tmp_path, check=False).returncode == -signal.SIGKILL
    storage, layout = LocalStorage(tmp_path), Layout("out")
    holder = decode_record(Holder, storage.read(layout.lock))
    kills = Machine().count_memory_kills()
    assert holder.memory_group == kills.group
    assert ("on_machine" in holder.memory_kills) == (kills.on_machine is not None)

    group = str(tmp_path / "machine/groups/job")
    counted = replace(holder, memory_group=group, memory_kills={"in_group": 0, "on_machine": 5})
    (tmp_path / layout.lock).write_bytes(encode_record(counted))
    run = find_last_run(storage, layout)
    assert run is not None
    machine = make_machine(tmp_path, boot=holder.boot, kills=1)
    hints = list_hints(gather_evidence(storage, layout, run, machine))
    assert any("the kernel has killed 1 of this container's processes" in hint for hint in hints)


def test_a_lock_of_before_keeps_no_counters() -> None:
    old = b'{"pid": 1, "host": "h", "since": "T", "boot": "b", "format_version": 1}'
    assert decode_record(Holder, seal_record(old)).memory_kills == {}


def diagnose_where_nothing_can_be_written(folder: Path, *options: str) -> str:
    """What `diagnose` prints where the filesystem of the output is mounted read-only."""
    shell = 'mount --bind . . && mount -o remount,bind,ro . && cd "$PWD" && exec "$@"'
    unshared = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", shell, "sh"]
    if subprocess.run([*unshared, "true"], cwd=folder, capture_output=True).returncode:
        pytest.skip("mounting is not permitted")
    ended = subprocess.run(
        [*unshared, sys.executable, "-m", "batten", "diagnose", "out", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 10, ended.stderr
    return ended.stdout


def test_a_read_only_filesystem_is_told(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (job.path / "job.py").write_text(CHANGES)
    monkeypatch.setenv("STOP", "1")
    assert job.run("--jobs", "1").code == 1
    why = "the filesystem is mounted read-only: nothing can be written there"
    assert why not in job.batten("diagnose", "out").out
    before = job.snapshot()
    told = diagnose_where_nothing_can_be_written(job.path)
    assert f"  again    likely to fail again: {why}\n" in told
    assert f"  hint     {why}\n" in told
    found = json.loads(diagnose_where_nothing_can_be_written(job.path, "--json"))
    assert why in found["hints"]
    assert found["again"] == {"likely": "yes", "because": why}
    assert job.snapshot() == before


CHANGES = """
import os
import batten

def work(number):
    if number == 5 and os.environ.get("STOP"):
        raise ValueError("stopped")
    return {"number": number + 0}

pipeline = (
    batten.from_range(10).map(work).options(batch_size=2, on_error="raise").write_parquet("out")
)
"""


def test_what_diagnose_did_not_read_is_said(job: Any) -> None:
    (job.path / "job.py").write_text(CHANGES)
    assert job.run("--jobs", "1").code == 0
    told = job.batten("diagnose", "out").out
    assert "  read     no byte of the parts, only sizes; batten verify out reads them all" in told
