"""What crashes of the whole run are blamed on, by the marks that they left. No run is killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batten.drive.handing_out.flight import COMPANY_SHARE, CRASHES_MAX, find_blame, forget
from batten.executors.marks import MarkTable, SlotMark
from batten.model.disk.names import Layout
from batten.storage.changing.publishing import create
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.locks import current_holder
from batten.storage.twin.memory import MemoryStorage

if TYPE_CHECKING:
    from conftest import MakePlan

Crash = Callable[..., None]


@pytest.fixture
def crash(storage: MemoryStorage, layout: Layout, tmp_path: Path) -> Crash:
    """A run ended with these items in hand, and left its log and its marks."""

    def leave(
        *items: int, boot: str | None = None, log: bytes | None = None, is_ending: bool = False
    ) -> None:
        name = f"20261121T0800{len(list(storage.list(layout.runs))):02}Z-3f9a"
        path = tmp_path / name
        table = MarkTable(len(items) + 2, partial(LocalStorage(tmp_path).create_shared, name))
        for record, item in zip(table.records, items, strict=False):
            SlotMark(record).begin(item)
        if is_ending:
            table.drain()
        table.close()
        create(storage, layout.staging, layout.in_flight(name), path.read_bytes())
        start = {"event": "start", "boot": current_holder().boot if boot is None else boot}
        line = json.dumps(start).encode() if log is None else log
        if line:
            storage.append_log(layout.run_log(name), line + b"\n")

    return leave


def test_nothing_is_blamed_without_a_crash(
    storage: MemoryStorage, layout: Layout, make_plan: MakePlan
) -> None:
    assert not find_blame(storage, layout, make_plan(10, 5))


@pytest.mark.parametrize("crashes", range(1, 6))
def test_three_crashes_condemn_what_was_alone_in_hand(
    storage: MemoryStorage, layout: Layout, make_plan: MakePlan, crash: Crash, crashes: int
) -> None:
    for _ in range(crashes):
        crash(7)
    blame = find_blame(storage, layout, make_plan(10, 5))
    assert not blame.suspects
    if crashes < 3:
        assert not blame.condemned
        return
    assert list(blame.condemned) == [7]
    failure = blame.condemned[7]
    # Its number in the batch, not in the plan.
    assert (failure.item, failure.attempts) == (2, crashes)
    assert f"at {crashes} crashes" in failure.error


@pytest.mark.parametrize("log", [b"[" * 4000, b"{", b"\xff", b"1"])
def test_a_log_that_can_not_be_read_blames_nothing(
    storage: MemoryStorage, layout: Layout, make_plan: MakePlan, crash: Crash, log: bytes
) -> None:
    for _ in range(CRASHES_MAX):
        crash(7, log=log)
    assert not find_blame(storage, layout, make_plan(10, 5)).condemned


def test_three_in_company_are_suspects(
    storage: MemoryStorage, layout: Layout, make_plan: MakePlan, crash: Crash
) -> None:
    for _ in range(CRASHES_MAX):
        crash(1, 2, 3)
    blame = find_blame(storage, layout, make_plan(10, 5))
    assert (blame.condemned, blame.suspects) == ({}, {1: 1, 2: 1, 3: 1})


def test_many_suspects_are_tried_an_eighth_at_a_time(
    storage: MemoryStorage, layout: Layout, make_plan: MakePlan, crash: Crash
) -> None:
    items = range(40)
    for _ in range(CRASHES_MAX):
        crash(*items)
    crash(*items[:16])
    blame = find_blame(storage, layout, make_plan(50, 50))
    assert {blame.suspects[item] for item in items[:16]} == {16 // COMPANY_SHARE}
    assert {blame.suspects[item] for item in items[16:]} == {40 // COMPANY_SHARE}


def test_once_alone_is_enough_of_three(
    storage: MemoryStorage, layout: Layout, make_plan: MakePlan, crash: Crash
) -> None:
    crash(1, 2, 3)
    crash(1, 2)
    crash(1)
    blame = find_blame(storage, layout, make_plan(10, 5))
    assert (list(blame.condemned), blame.suspects) == ([1], {})


@pytest.mark.parametrize("log", [None, b"", b"torn", b"[1]", b'{"event": "start"}'])
def test_crashes_of_before_a_restart_do_not_count(
    storage: MemoryStorage, layout: Layout, make_plan: MakePlan, crash: Crash, log: bytes | None
) -> None:
    """Nor those of which it is not known: a power cut is no item's fault."""
    plan = make_plan(10, 5)
    crash(7)
    crash(7)
    for _ in range(5):
        crash(7, boot="another", log=log)
    assert not find_blame(storage, layout, plan)
    crash(7)
    assert find_blame(storage, layout, plan).condemned[7].attempts == 3


def test_items_that_are_not_planned_are_not_blamed(
    storage: MemoryStorage, layout: Layout, make_plan: MakePlan, crash: Crash
) -> None:
    for _ in range(3):
        crash(999)
    assert not find_blame(storage, layout, make_plan(10, 5))


def test_marks_that_are_torn_tell_nothing(
    storage: MemoryStorage, layout: Layout, make_plan: MakePlan, crash: Crash
) -> None:
    for _ in range(3):
        crash(7)
    for entry in list(storage.list(layout.runs)):
        if entry.name.endswith(".inflight"):
            data = storage.read(entry.name)
            storage.delete(entry.name)
            create(storage, layout.staging, entry.name, data[:20])
    assert not find_blame(storage, layout, make_plan(10, 5))


def test_all_is_forgotten_when_every_item_came_to_an_end(
    storage: MemoryStorage, layout: Layout, make_plan: MakePlan, crash: Crash
) -> None:
    for _ in range(3):
        crash(7)
    logs = [e.name for e in storage.list(layout.runs) if e.name.endswith(".jsonl")]
    forget(storage, layout, "run")
    assert not find_blame(storage, layout, make_plan(10, 5))
    # How many calls were in hand is known yet.
    assert [entry.name for entry in storage.list(layout.runs)] == [*logs, layout.usage("run")]


def test_a_run_that_was_killed_while_it_was_to_stop_blames_nothing(
    storage: MemoryStorage, layout: Layout, make_plan: MakePlan, crash: Crash
) -> None:
    """As where a service is told to end, and is killed some seconds later, again and again."""
    plan = make_plan(10, 5)
    for _ in range(CRASHES_MAX):
        crash(7, is_ending=True)
    assert not find_blame(storage, layout, plan)
    for _ in range(CRASHES_MAX):
        crash(7)
    assert list(find_blame(storage, layout, plan).condemned) == [7]
