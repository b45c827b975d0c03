"""Which item each worker has in hand, in memory that outlives the worker and perhaps the run.

A table of 64-bit words: a header, then a record of eight words for each worker. A worker writes its
own record by plain stores, and the driver reads it when the worker has died or may be overdue.
Backed by a file, the table is still there after everything was killed, so that the next run learns
which items were in hand (`read_in_flight`, decision 0006).
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from time import monotonic_ns

from batten.executors.base import IDLE
from batten.storage.beneath import close_read
from batten.storage.failures import writing_failure

RECORD_WORDS = 8
"""64 bytes, a line of the processor's cache, so that workers do not slow each other down."""

ITEM = 0
ITEM_STARTED = 1
TASK = 2
TASK_NANOSECONDS = 3
ITEM_LIMIT = 4
"""The nanoseconds for which the item may be in hand."""
_CHECK = 7

MakeFile = Callable[[int], int]

NO_TASK = -(2**63)
"""No number of a task."""

_LONGEST = 2**62

DRAINING = 3
"""In the header: whether no further item is to be begun."""

_MAGIC = int.from_bytes(b"inflight", "little")
_VERSION = 1
_WORD_BYTES = 8
_RECORD_BYTES = RECORD_WORDS * _WORD_BYTES


class SlotMark:
    """The mark of a worker whose items have no time limit. `header` is that of its table, `slot`
    its number there."""

    __slots__ = ("_header", "_record", "is_retired", "slot")

    def __init__(self, record: memoryview, header: memoryview | None = None, slot: int = 0) -> None:
        self.slot = slot
        self._record = record
        self._header = header
        self.is_retired = False

    @property
    def is_draining(self) -> bool:
        """Whether no further item is to be begun."""
        return self._header is not None and bool(self._header[DRAINING])

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in hand."""
        return self._record[ITEM] == IDLE

    def begin(self, item: int, limit_seconds: float | None = None) -> None:
        self._record[ITEM] = item

    def end(self) -> None:
        self._record[ITEM] = IDLE

    def retire(self) -> None:
        self.is_retired = True


class TimedMark(SlotMark):
    """The mark of a worker whose items have a time limit, this one where none is said."""

    __slots__ = ("_limit_seconds",)

    def __init__(
        self,
        record: memoryview,
        limit_seconds: float,
        header: memoryview | None = None,
        slot: int = 0,
    ) -> None:
        super().__init__(record, header, slot)
        self._limit_seconds = limit_seconds

    def begin(self, item: int, limit_seconds: float | None = None) -> None:
        seconds = self._limit_seconds if limit_seconds is None else limit_seconds
        # The time first: who sees the item then never sees the time of an earlier one.
        self._record[ITEM_STARTED] = monotonic_ns()
        self._record[ITEM_LIMIT] = int(min(seconds * 1e9, _LONGEST))
        self._record[ITEM] = item


class MarkTable:
    """The marks of all workers. It is shared with every process that is forked after it was made,
    or that gets its `handle`.

    `make_file` gives a new file of so many bytes, open to be mapped. The caller that named it
    deletes it.
    """

    def __init__(self, slots: int, make_file: MakeFile | None = None) -> None:
        content = _encode_empty(slots)
        self._map((make_file or _make_memory)(len(content)), slots)
        self._memory[:] = content

    @classmethod
    def attach(cls, handle: int, slots: int) -> MarkTable:
        """The table that another process made."""
        table = cls.__new__(cls)
        table._map(handle, slots)
        return table

    def _map(self, handle: int, slots: int) -> None:
        self.handle = handle
        try:
            self._memory = mmap.mmap(handle, _RECORD_BYTES * (slots + 1))
        except OSError as error:
            close_read(handle)
            raise writing_failure(error, "Mapping", "the marks of items in hand") from error
        self._words = memoryview(self._memory).cast("q")
        self._header = self._words[:RECORD_WORDS]
        self.records = [
            self._words[start : start + RECORD_WORDS]
            for start in range(RECORD_WORDS, RECORD_WORDS * (slots + 1), RECORD_WORDS)
        ]

    def mark(self, slot: int, limit_seconds: float | None = None) -> SlotMark:
        """The mark of a worker, whose items have this limit of time."""
        record = self.records[slot]
        if limit_seconds is None:
            return SlotMark(record, self._header, slot)
        return TimedMark(record, limit_seconds, self._header, slot)

    def drain(self) -> None:
        """Tell all workers to begin no further item."""
        self._header[DRAINING] = 1

    def close(self) -> None:
        """Give the memory back; the marks made from it must not be used any more."""
        for view in (*self.records, self._header, self._words):
            view.release()
        self._memory.close()
        close_read(self.handle)


def clear_record(record: memoryview) -> None:
    """The worker has nothing in hand and has begun no task."""
    record[ITEM] = IDLE
    record[TASK] = NO_TASK
    record[TASK_NANOSECONDS] = 0


def read_in_flight(data: bytes) -> list[int]:
    """The items that were in hand according to the bytes of a table's file.

    Never raises: what is torn, foreign or of another version holds no items."""
    words = memoryview(data[: len(data) // _RECORD_BYTES * _RECORD_BYTES]).cast("q").tolist()
    if words[:2] != [_MAGIC, _VERSION]:
        return []
    slots = max(words[2], 0)
    records = [
        words[start : start + RECORD_WORDS]
        for start in range(RECORD_WORDS, len(words), RECORD_WORDS)
    ][:slots]
    items = [record[ITEM] for record in records if record[_CHECK] == _MAGIC and record[ITEM] >= 0]
    return list(dict.fromkeys(items))


def was_draining(data: bytes) -> bool:
    """Whether the run was ending, according to the bytes of its table's file."""
    words = memoryview(data[: len(data) // _WORD_BYTES * _WORD_BYTES]).cast("q").tolist()
    return words[:2] == [_MAGIC, _VERSION] and len(words) > DRAINING and words[DRAINING] == 1


def count_in_flight(data: bytes) -> int:
    """How many items were in hand at most. Of what was damaged nobody knows, so each worker may
    have had one. Where nothing was written yet, nothing was begun."""
    if not any(data):
        return 0
    words = memoryview(data[: len(data) // _WORD_BYTES * _WORD_BYTES]).cast("q").tolist()
    records = [
        words[start : start + RECORD_WORDS]
        for start in range(RECORD_WORDS, len(words), RECORD_WORDS)
    ]
    if words[:2] != [_MAGIC, _VERSION] or words[2] != len(records):
        return max(1, len(records))
    damaged = sum(len(each) < RECORD_WORDS or each[_CHECK] != _MAGIC for each in records)
    return damaged + len(read_in_flight(data))


def count_slots(size: int) -> int:
    """How many items may have been in hand, by the size of a table that can't be read."""
    return max(1, size // _RECORD_BYTES - 1)


def _encode_empty(slots: int) -> bytes:
    header = [_MAGIC, _VERSION, slots, 0, 0, 0, 0, 0]
    record = [IDLE, 0, NO_TASK, 0, 0, 0, 0, _MAGIC]
    return struct.pack(f"={RECORD_WORDS * (slots + 1)}q", *header, *record * slots)


def _make_memory(size: int) -> int:
    handle = os.memfd_create("batten-marks", os.MFD_CLOEXEC)
    os.ftruncate(handle, size)
    return handle
