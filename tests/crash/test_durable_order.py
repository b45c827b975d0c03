"""The order of what a run does, from its system calls: nothing is visible before it is durable,
nothing is deleted before what replaces it is, and syncs are few."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.tracing import needs_tracing

from batten.crashlab.tracing.laboratory import run_traced
from batten.crashlab.tracing.system_calls import CallKind, TracedCall

if TYPE_CHECKING:
    from conftest import Subject

pytestmark = needs_tracing

BATTEN = str(Path(sys.executable).with_name("batten"))

SYNCS_A_BATCH_MAX = 4

ONE_BY_ONE = """
import time
import batten

def work(number):
    time.sleep(0.15)  # longer than sealed batches wait for others
    return {{"number": number}}

pipeline = batten.from_range({batches}).map(work).write_parquet("features/").options(batch_size=1)
"""

ALL_TOGETHER = """
import batten

def work(number):
    if number == 0:
        open("last").close()  # a pipe: item 0, in the one worker, waits for the last, in the other
    if number == 39:
        open("last", "w").close()
    return {"number": number}

pipeline = (
    batten.from_range(40).map(work).write_parquet("features/")
    .options(batch_size=4, schema={"number": "int64"})
)
"""


def trace(folder: Path, jobs: int) -> tuple[TracedCall, ...]:
    """The calls of an undisturbed run, their paths relative to the folder."""
    run = run_traced(
        [BATTEN, "run", "job.py", "--jobs", str(jobs), "--quiet"],
        folders=[folder / "features", folder / "features.batten"],
        working_folder=folder,
    )
    assert run.returncode in (0, 3), run.stderr
    return run.calls


def run_program(program: str, folder: Path, jobs: int) -> tuple[TracedCall, ...]:
    folder.mkdir(exist_ok=True)
    (folder / "job.py").write_text(program)
    return trace(folder, jobs)


class Disk:
    """What is durable, call by call, under each name. A file is known by the name that it had
    first; a name is durable once its folder was synced."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.unsynced_files: set[str] = set()
        self.unsynced_names: set[str] = set()

    def do(self, call: TracedCall) -> None:
        if call.result is None or call.result < 0:
            return
        if call.kind is CallKind.OPEN_TO_WRITE:
            self.files.setdefault(call.path, call.path)
            self.unsynced_names.add(call.path)
        elif call.kind is CallKind.WRITE:
            self.unsynced_files.add(self.files[call.path])
        elif call.kind is CallKind.SYNC:
            self.unsynced_files.discard(self.files.get(call.path, ""))
            self.unsynced_names -= {
                name for name in self.unsynced_names if os.path.dirname(name) == call.path
            }
        elif call.kind is CallKind.LINK:
            self.files[call.target] = self.files[call.path]
            self.unsynced_names.add(call.target)
        elif call.kind is CallKind.RENAME:
            self.files[call.target] = self.files.pop(call.path)
            self.unsynced_names.discard(call.path)
            self.unsynced_names.add(call.target)
        elif call.kind is CallKind.UNLINK:
            self.files.pop(call.path, None)
            self.unsynced_names.discard(call.path)

    def is_durable(self, name: str) -> bool:
        return (
            name in self.files
            and name not in self.unsynced_names
            and self.files[name] not in self.unsynced_files
        )

    def other_names(self, name: str) -> list[str]:
        return [each for each, file in self.files.items() if file == self.files[name] != each]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("subject", ["cheap", "dear"], indirect=True)
def test_durable_before_visible_and_replaced_before_deleted(
    subject: Subject, jobs: int, tmp_path: Path
) -> None:
    subject.prepare(tmp_path)
    output, control = str(tmp_path / "features"), str(tmp_path / "features.batten")
    throwaway = (f"{control}/staging", f"{control}/staged")
    disk = Disk()
    linked = []
    for call in trace(tmp_path, jobs):
        if call.kind is CallKind.LINK and os.path.dirname(call.target) not in throwaway:
            linked.append(call.target)
            assert disk.files[call.path] not in disk.unsynced_files, call
            for earlier in needed_before(call.target, output, control):
                assert disk.is_durable(earlier), f"{earlier} before {call}"
        if call.kind is CallKind.UNLINK and os.path.dirname(call.path) in throwaway:
            for name in disk.other_names(call.path):
                is_kept = os.path.dirname(name) not in throwaway
                assert not is_kept or disk.is_durable(name), f"{name} before {call}"
        disk.do(call)
    parts = [name for name in linked if os.path.dirname(name) == output]
    assert parts == [f"{output}/{name}" for name in subject.parts]
    assert linked[-1] == f"{control}/COMPLETE"
    assert all(disk.is_durable(name) for name in linked)


def needed_before(name: str, output: str, control: str) -> list[str]:
    """What must be durable before the name appears."""
    folder, file = os.path.split(name)
    settings = [f"{control}/dataset.json", f"{control}/plan/000000.json", f"{control}/schema.json"]
    if folder == output:
        return settings
    if folder == f"{control}/commits":
        return [*settings, f"{output}/part-{Path(file).stem}.parquet"]
    if file == "COMPLETE":
        return [*settings, f"{control}/commits/000000.json", f"{output}/part-000000.parquet"]
    return []


def test_quarantine_is_durable_before_its_part(dear: Subject, tmp_path: Path) -> None:
    dear.prepare(tmp_path)
    disk = Disk()
    quarantines = 0
    for call in trace(tmp_path, 2):
        if call.kind is CallKind.LINK and call.target.startswith(str(tmp_path / "features/part-")):
            number = call.target[-len("000000.parquet") :]
            quarantine = str(tmp_path / "features.batten" / "quarantine" / number)
            if quarantine in disk.files:
                quarantines += 1
                assert disk.is_durable(quarantine)
        disk.do(call)
    assert quarantines == len(list((tmp_path / "features.batten" / "quarantine").iterdir())) > 0


def test_syncs_of_a_batch_that_is_ready_alone(tmp_path: Path) -> None:
    """What a batch costs is the difference between runs of more batches and of fewer."""
    fewer, more = (
        sum(
            call.kind is CallKind.SYNC
            for call in run_program(ONE_BY_ONE.format(batches=batches), tmp_path / str(batches), 1)
        )
        for batches in (3, 8)
    )
    assert more - fewer <= SYNCS_A_BATCH_MAX * 5


def test_syncs_of_folders_are_shared_by_batches_that_are_ready_together(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "last")
    calls = run_program(ALL_TOGETHER, tmp_path, 2)
    first = next(call.number for call in calls if call.target.endswith("part-000000.parquet"))
    synced = Counter(
        os.path.relpath(call.path, tmp_path)
        for call in calls
        if call.kind is CallKind.SYNC and call.number > first
    )
    assert synced["features"] == 1
    assert synced["features.batten/commits"] == 1


WHOLE = """
import batten

def report(orders):
    return orders.sort_by("key")

pipeline = (
    batten.from_tables(orders="orders.csv").apply(report)
    .write_csv("out/report.csv").write_sqlite("shop.db", "report", mode="replace")
)
"""


def test_what_a_function_of_tables_made_is_durable_before_a_destination_gets_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "job.py").write_text(WHOLE)
    (tmp_path / "orders.csv").write_text("key\n2\n1\n")
    run = run_traced(
        [BATTEN, "run", "job.py", "--quiet"], folders=[tmp_path], working_folder=tmp_path
    )
    assert run.returncode == 0, run.stderr
    result = str(tmp_path / "out/report.csv.batten/RESULT.parquet")
    report, base = str(tmp_path / "out/report.csv"), str(tmp_path / "shop.db")
    disk = Disk()
    given = []
    for call in run.calls:
        is_rows = call.kind is CallKind.WRITE and call.path == base
        if is_rows or (call.kind is CallKind.RENAME and call.target == report):
            given.append(call.target or call.path)
            assert disk.is_durable(result), call
        disk.do(call)
    assert set(given) == {report, base}
    assert disk.is_durable(report)
