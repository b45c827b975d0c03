"""What an earlier run had staged whole is published before new work begins."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.drive.handing_out.flight import Blame
from batten.drive.handing_out.open_batch import BatchLeft
from batten.drive.handing_out.schedule import Schedule
from batten.drive.publishing import waiting
from batten.executors import serial
from batten.executors.serial import SerialExecutor
from batten.model.disk.records import PartDescription, Segment
from batten.model.disk.staged_names import StagedChunk
from batten.plan.plan import Plan
from batten.storage.changing import steps
from batten.work import bench, work_sizes
from batten.work.tasks import Prepare, Seal, Sealed, Unsealable
from batten.work.work_sizes import Allotment

BATCHES = 4


def _plan() -> Plan:
    segment = Segment(
        number=0,
        first_batch=0,
        first_ordinal=0,
        items=3 * BATCHES,
        batch_size=3,
        is_keyed=False,
        duplicates=0,
        duplicate_examples=[],
        is_limited=False,
        keys=[],
        keys_size=0,
        keys_digest="",
    )
    return Plan(None, None, [segment])  # type: ignore[arg-type]


def _chunk(batch: int, start: int = 0, stop: int = 3) -> StagedChunk:
    return StagedChunk(batch=batch, start=start, stop=stop, some=None, digest="0" * 32)


def _sealed(batch: int, schema: bytes | None = None) -> Sealed:
    return Sealed(
        described=PartDescription(
            batch=batch, items=3, rows=3, outcomes="3c", keys="", fingerprint=""
        ),
        size=1,
        digest="",
        quarantine_digest="",
        schema=schema,
    )


def _schedule(staged: dict[int, list[StagedChunk]], schema: bytes | None = b"") -> Schedule:
    return Schedule(
        _plan(),
        range(BATCHES),
        find_left=lambda batch: BatchLeft(number=batch, chunks=tuple(staged.get(batch, []))),
        schema=schema,
        allotment=Allotment(slots=2),
        blame=Blame(condemned={}, suspects={}),
    )


def _next(schedule: Schedule) -> Any:
    found = schedule.next_task()
    return None if found is None else found[1]


def test_whole_batches_are_sealed_and_published_before_work_is_handed_out() -> None:
    schedule = _schedule({0: [_chunk(0)], 1: [_chunk(1, 0, 1), _chunk(1, 1, 3)], 3: [_chunk(3)]})
    assert [type(_next(schedule)) for _ in range(2)] == [Seal, Seal]
    assert _next(schedule) is None
    assert schedule.open.is_settling
    schedule.sealed(_sealed(1), 2)
    assert (_next(schedule), schedule.open.take_ready()) == (None, [])
    schedule.sealed(_sealed(0), 1)
    assert _next(schedule) is None
    assert [sealed.batch for sealed, _ in schedule.open.take_ready()] == [0, 1]
    task = _next(schedule)
    assert (type(task), task.batch) == (Prepare, 2)
    assert not schedule.open.is_settling


def test_what_pins_the_schema_is_sealed_first() -> None:
    schedule = _schedule({0: [_chunk(0)], 1: [_chunk(1)]}, schema=None)
    assert _next(schedule).batch == 0
    assert _next(schedule) is None
    schedule.sealed(_sealed(0, b""), 1)
    schedule.pin(b"")
    assert _next(schedule).batch == 1


def test_a_batch_without_rows_or_with_a_damaged_chunk_holds_up_nothing() -> None:
    schedule = _schedule({0: [_chunk(0)]}, schema=None)
    assert type(_next(schedule)) is Seal
    schedule.unsealable(1, Unsealable(batch=0, is_rowless=True))
    assert _next(schedule).batch == 1

    schedule = _schedule({0: [_chunk(0)]})
    assert type(_next(schedule)) is Seal
    schedule.unsealable(1, Unsealable(batch=0, damaged=(_chunk(0),)))
    task = _next(schedule)
    assert (type(task), task.batch) == (Prepare, 0)


def test_nothing_staged_holds_up_nothing() -> None:
    schedule = _schedule({})
    assert type(_next(schedule)) is Prepare
    assert not schedule.open.is_settling


def test_runs_that_are_killed_early_make_progress(
    tmp_path: Path, kill: Callable[..., None], slow: str
) -> None:
    """Each run is killed before a batch is sealed, or when the first item of new work is staged."""
    (tmp_path / "job.py").write_text("import batten\n" + textwrap.dedent(slow))
    kill(tmp_path, "*/staged/000000-sealed-*")
    assert not list((tmp_path / "out").glob("*"))
    kill(tmp_path, "*/staged/000001-000000-*")
    assert [part.name for part in (tmp_path / "out").iterdir()] == ["part-000000.parquet"]


class Backwards(SerialExecutor):
    """Of three tasks in hand it does the last first, as workers may."""

    slots = 3

    def submit(self, task_id: int, task: Any, *, in_new_process: bool = False) -> None:
        self._tasks.appendleft((task_id, task))


class Killed(BaseException):
    pass


def test_what_turns_out_damaged_before_what_was_staged_first_is_published_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ended with exit 4, since nothing was in hand when the way was free."""

    def kill(moment: str, step: str, name: str) -> None:
        if step == "publish.link" and name.startswith("out/"):
            raise Killed

    def run() -> Any:
        doubled = batten.from_range(6).map(lambda number: {"twice": 2 * number}, version="1")
        pipeline = doubled.options(batch_size=2, schema={"twice": "int64"})
        return pipeline.write_parquet(tmp_path / "out").run(executor="serial")

    monkeypatch.setattr(bench, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(work_sizes, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", float("inf"))
    with monkeypatch.context() as killing:
        killing.setattr(steps, "observer", kill)
        with pytest.raises(Killed):
            run()
    staged = tmp_path / "out.batten/staged"
    for sealed in staged.glob("*-sealed-*"):
        sealed.unlink()
    (last,) = staged.glob("000002-000001-*.arrow")
    last.write_bytes(b"torn")
    assert list(staged.glob("000001-*.arrow"))
    monkeypatch.setattr(serial, "SerialExecutor", Backwards)
    assert run().status == "complete"
    rows = [row["twice"] for row in batten.open(tmp_path / "out").to_arrow().to_pylist()]
    assert rows == [0, 2, 4, 6, 8, 10]
