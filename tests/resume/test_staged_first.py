"""What an earlier run had staged whole is published before new work begins."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batten.drive.flight import Blame
from batten.drive.schedule import Schedule
from batten.model.disk.names import StagedChunk
from batten.model.disk.records import Segment
from batten.plan.plan import Plan
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
        batch=batch,
        items=3,
        rows=3,
        outcomes="3c",
        keys="",
        fingerprint="",
        size=1,
        digest="",
        quarantine_digest="",
        schema=schema,
    )


def _schedule(staged: dict[int, list[StagedChunk]], schema: bytes | None = b"") -> Schedule:
    return Schedule(
        _plan(),
        range(BATCHES),
        find_staged=lambda batch: (staged.get(batch, []), None),
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
    assert schedule.is_settling
    schedule.sealed(_sealed(1), 2)
    assert (_next(schedule), schedule.take_ready()) == (None, [])
    schedule.sealed(_sealed(0), 1)
    assert _next(schedule) is None
    assert [sealed.batch for sealed, _ in schedule.take_ready()] == [0, 1]
    task = _next(schedule)
    assert (type(task), task.batch) == (Prepare, 2)
    assert not schedule.is_settling


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
    assert not schedule.is_settling


def test_runs_that_are_killed_early_make_progress(
    tmp_path: Path, kill: Callable[..., None], slow: str
) -> None:
    """Each run is killed before a batch is sealed, or when the first item of new work is staged."""
    (tmp_path / "job.py").write_text("import batten\n" + textwrap.dedent(slow))
    kill(tmp_path, "*/staged/000000-sealed-*")
    assert not list((tmp_path / "out").glob("*"))
    kill(tmp_path, "*/staged/000001-000000-*")
    assert [part.name for part in (tmp_path / "out").iterdir()] == ["part-000000.parquet"]
