"""The table of marks, and what is read of its file when it is torn or foreign."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from batten.errors import StorageError
from batten.executors.marks import (
    ITEM,
    ITEM_LIMIT,
    ITEM_STARTED,
    MarkTable,
    SlotMark,
    TimedMark,
    clear_record,
    read_in_flight,
)
from batten.storage.local.folder import LocalStorage

RECORD_BYTES = 64


def make_file(path: Path, items: list[int]) -> bytes:
    table = MarkTable(len(items), partial(LocalStorage(path.parent).create_shared, path.name))
    for record, item in zip(table.records, items, strict=True):
        SlotMark(record).begin(item)
    table.close()
    return path.read_bytes()


def test_items_in_hand_are_read_once_each_in_the_order_of_slots(in_flight: Path) -> None:
    assert read_in_flight(make_file(in_flight, [5, -1, 0, 2**62, 5])) == [5, 0, 2**62]


def test_a_truncated_file_gives_the_whole_records(in_flight: Path) -> None:
    data = make_file(in_flight, [10, 11, 12])
    for length in range(len(data) + 1):
        whole = max(length // RECORD_BYTES - 1, 0)
        assert read_in_flight(data[:length]) == [10, 11, 12][:whole]


def test_a_lost_block_holds_no_items(in_flight: Path) -> None:
    data = make_file(in_flight, [10, 11, 12])
    zeros = bytes(RECORD_BYTES)
    assert read_in_flight(zeros + data[RECORD_BYTES:]) == []
    assert read_in_flight(data[:128] + zeros + data[192:]) == [10, 12]


@pytest.mark.parametrize("word", [0, 1])
def test_a_foreign_file_or_version_holds_no_items(in_flight: Path, word: int) -> None:
    data = bytearray(make_file(in_flight, [10]))
    data[8 * word] ^= 0xFF
    assert read_in_flight(bytes(data)) == []


@hypothesis.given(strategies.binary(max_size=300), strategies.integers(0, 256))
def test_garbage_never_raises(data: bytes, offset: int) -> None:
    read_in_flight(data)
    table = bytearray(_VALID)
    table[offset : offset + len(data)] = data
    assert all(item >= 0 for item in read_in_flight(bytes(table)))


def _make_valid() -> bytes:
    table = MarkTable(3)
    data = bytes(table._memory)
    table.close()
    return data


_VALID = _make_valid()


def test_marks_tell_what_is_in_hand() -> None:
    table = MarkTable(2)
    first, second = table.records
    plain, timed = SlotMark(first), TimedMark(second, 5.0)
    plain.begin(1)
    timed.begin(2)
    assert (first[ITEM], second[ITEM]) == (1, 2)
    assert first[ITEM_STARTED] == 0 < second[ITEM_STARTED]
    assert second[ITEM_LIMIT] == 5_000_000_000
    timed.begin(2, 0.25)
    assert second[ITEM_LIMIT] == 250_000_000
    timed.begin(2, math.inf)
    assert second[ITEM_LIMIT] > 10**18
    plain.end()
    clear_record(second)
    assert first[ITEM] == second[ITEM] == -1
    table.close()


def test_all_marks_of_a_table_drain_at_once() -> None:
    """Also those of another process, which has the table by its handle."""
    table = MarkTable(2)
    other = MarkTable.attach(os.dup(table.handle), 2)
    marks = [table.mark(0), table.mark(1, 5.0), other.mark(0), other.mark(1, 5.0)]
    assert not any(mark.is_draining for mark in marks)
    marks[0].begin(3)
    table.drain()
    assert all(mark.is_draining for mark in marks)
    assert read_in_flight(bytes(table._memory)) == [3]
    assert not SlotMark(table.records[0]).is_draining
    del marks
    other.close()
    table.close()


def test_marks_that_cannot_be_mapped_are_a_failure_of_the_machine() -> None:
    handles: list[int] = []

    def make(size: int) -> int:
        handles.append(os.eventfd(0))
        return handles[-1]

    with pytest.raises(StorageError, match="the marks of items in hand"):
        MarkTable(1, make)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handles[0])
