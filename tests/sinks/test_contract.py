"""What every destination with a commit of its own must do, tried on the real thing."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from batten.crashlab.staging import SCHEMA, stage_batch
from batten.errors import InconsistentError, RefusedError, UsageError
from batten.model.disk.tokens import PublishEnd, TokenState

if TYPE_CHECKING:
    from conftest import Lab


def rows_of(*keys: int) -> list[dict[str, object]]:
    return [{"key": key, "name": f"n{key}"} for key in keys]


def pair(batch: int) -> list[int]:
    return [2 * batch, 2 * batch + 1]


def test_what_is_published_is_there_once_and_known(lab: Lab) -> None:
    first, second = stage_batch(0, [0, 1, 2]), stage_batch(1, [3, 4])
    destination = lab.open()
    assert destination.lookup([first.token]) == [TokenState.ABSENT]
    destination.prepare(SCHEMA)
    destination.prepare(SCHEMA)
    assert destination.lookup([first.token]) == [TokenState.ABSENT]
    assert destination.publish(first) is PublishEnd.COMMITTED
    assert destination.lookup([first.token, second.token]) == [TokenState.SAME, TokenState.ABSENT]
    assert destination.publish(second) is PublishEnd.COMMITTED
    assert lab.read() == rows_of(0, 1, 2, 3, 4)
    destination.close()
    destination.close()
    other = lab.open()
    assert other.lookup([first.token, second.token]) == [TokenState.SAME, TokenState.SAME]
    other.close()


def test_looking_makes_nothing(lab: Lab) -> None:
    destination = lab.open()
    assert destination.lookup([stage_batch(0, [0]).token]) == [TokenState.ABSENT]
    destination.close()
    assert list(lab.folder.iterdir()) == []
    assert lab.kind != "postgres" or lab.ask("SELECT FROM pg_tables WHERE tablename = 'rows'") == []


def test_a_second_attempt_is_told_that_it_is_there(lab: Lab) -> None:
    staged = stage_batch(0, [0, 1])
    for _ in range(2):
        destination = lab.open()
        destination.prepare(SCHEMA)
        first, second = destination.publish(staged), destination.publish(staged)
        assert second is PublishEnd.LOST_RACE
        destination.close()
    assert first is PublishEnd.LOST_RACE
    assert lab.read() == rows_of(0, 1)


def test_other_content_under_the_same_name_is_refused(lab: Lab) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    destination.publish(stage_batch(0, [0, 1]))
    other = stage_batch(0, [0, 1], digest="other", fingerprint="g")
    assert destination.lookup([other.token]) == [TokenState.OTHER]
    with pytest.raises(InconsistentError, match="other content"):
        destination.publish(other)
    destination.close()
    assert lab.read() == rows_of(0, 1)


def test_retried_items_are_added_to_their_batch(lab: Lab) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    destination.publish(stage_batch(0, [0, 1, 2, 3], failed=[1, 3]))
    assert lab.read() == rows_of(0, 2)
    again = stage_batch(0, [0, 1, 2, 3], failed=[3])
    assert destination.lookup([again.token]) == [TokenState.OTHER]
    assert destination.list_closed([again.token]) == []
    assert destination.publish(again) is PublishEnd.COMMITTED
    assert destination.publish(again) is PublishEnd.LOST_RACE
    assert destination.lookup([again.token]) == [TokenState.SAME]
    assert lab.read() == rows_of(0, 1, 2)
    last = stage_batch(0, [0, 1, 2, 3])
    assert destination.publish(last) is PublishEnd.COMMITTED
    assert destination.lookup([last.token]) == [TokenState.SAME]
    destination.close()
    assert lab.read() == rows_of(0, 1, 2, 3)


def test_retried_items_that_have_no_rows_or_are_all_of_a_batch(lab: Lab) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    destination.publish(stage_batch(0, [0, 1], failed=[0, 1]))
    again = stage_batch(0, [0, 1], failed=[1])
    assert destination.publish(again) is PublishEnd.COMMITTED
    filtered = replace(again, token=replace(again.token, digest="filtered"), outcomes="1c1f")
    assert destination.publish(filtered) is PublishEnd.COMMITTED
    assert destination.lookup([filtered.token]) == [TokenState.SAME]
    assert lab.read() == rows_of(0)
    with pytest.raises(InconsistentError, match="other content"):
        destination.publish(stage_batch(0, [0, 1], failed=[0]))
    destination.close()
    assert lab.read() == rows_of(0)


def test_rows_that_cannot_be_read_leave_nothing(lab: Lab) -> None:
    def fail() -> Iterator[pa.RecordBatch]:
        yield from stage_batch(0, [0]).read()
        raise InconsistentError("the part is damaged")

    def fail_to_load() -> bytes:
        raise InconsistentError("the part is damaged")

    whole = stage_batch(0, [0, 1])
    destination = lab.open()
    destination.prepare(SCHEMA)
    with pytest.raises(InconsistentError, match="damaged"):
        destination.publish(replace(whole, read=fail, load=fail_to_load))
    assert lab.read() == []
    assert destination.lookup([whole.token]) == [TokenState.ABSENT]
    assert destination.publish(whole) is PublishEnd.COMMITTED
    destination.close()
    assert lab.read() == rows_of(0, 1)


def test_a_table_without_a_column_is_refused(lab: Lab) -> None:
    lab.make("key bigint")
    destination = lab.open()
    with pytest.raises(RefusedError, match="name"):
        destination.prepare(SCHEMA)
    destination.close()


def test_a_table_that_is_gone_is_told(lab: Lab) -> None:
    """As an error, or as tokens that are gone with it: then the run tells."""
    staged = stage_batch(0, [0, 1])
    destination = lab.open()
    destination.prepare(SCHEMA)
    destination.publish(staged)
    destination.close()
    lab.drop()
    again = lab.open()
    told: object
    try:
        told = again.lookup([staged.token])
    except InconsistentError as error:
        told = error.what
    again.close()
    assert told == [TokenState.ABSENT] or "is gone" in str(told)


@pytest.mark.parametrize("is_retried", [False, True])
def test_two_processes_publish_the_same_batches(lab: Lab, is_retried: bool) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    if is_retried:
        for batch in range(6):
            destination.publish(stage_batch(batch, pair(batch), failed=[2 * batch + batch % 2]))
    destination.close()
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(2)
    ends = context.Queue()

    def publish() -> None:
        mine = lab.open()
        gate.wait()
        ends.put([mine.publish(stage_batch(batch, pair(batch))) for batch in range(6)])
        mine.close()

    processes = [context.Process(target=publish) for _ in range(2)]
    for process in processes:
        process.start()
    outcomes = [ends.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    committed = [batch.count(PublishEnd.COMMITTED) for batch in zip(*outcomes, strict=True)]
    assert max(committed) <= 1
    again = lab.open()
    for batch in range(6):
        again.publish(stage_batch(batch, pair(batch)))
    again.close()
    assert lab.read() == rows_of(*range(12))


def test_a_library_that_is_missing_is_told_with_what_installs_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("psycopg", "deltalake", "pyiceberg"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    if lab.kind == "sqlite":
        lab.sink.check()
        return
    with pytest.raises(UsageError) as caught:
        lab.sink.check()
    assert "pip install" in caught.value.next
