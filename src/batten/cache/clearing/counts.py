"""What a cache did, counted by process, and kept when the processes have ended, however they end.

Each process has a file of its own, mapped into memory, which it holds locked while it lives. When
it has ended, its counts are added to those of all who ended before.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import field, fields, replace
from typing import Annotated, ClassVar

from batten.cache.cache_files import hold_file, open_file, read_file
from batten.model.cached.cache_names import TOTAL, CacheLayout, is_counts
from batten.model.disk.bounds import RECORD_BYTES_MAX, Many, Number, Piece
from batten.model.disk.records import Unreadable, decode_record, encode_record
from batten.model.value_class import value_class
from batten.storage.beneath import close_read
from batten.storage.changing.publishing import fresh_name
from batten.storage.changing.publishing import replace as replace_file
from batten.storage.local import folders
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.held import Held


@value_class
class Counts:
    """What was done with a cache.

    Attributes:
        hits: Lookups that found an entry.
        misses: Lookups that found none.
        builds: Entries that were made.
        waits: Lookups that waited for another process to make the entry.
        publish_failures: Entries that were made and could not be kept.
        failures: Lookups that could not use the cache.
        evictions: Entries that were removed for want of room.
        evicted_bytes: What these took on disk, in bytes.
        set_aside: Damaged entries that were set aside.
        abandoned_builds: Builds of dead processes that were found and removed.
        held_over_budget: By how many bytes entries in use held the cache over its budget at the
            last look.
    """

    hits: int = 0
    misses: int = 0
    builds: int = 0
    waits: int = 0
    publish_failures: int = 0
    failures: int = 0
    evictions: int = 0
    evicted_bytes: int = 0
    set_aside: int = 0
    abandoned_builds: int = 0
    held_over_budget: int = 0

    def plus(self, other: Counts) -> Counts:
        """Add the counts of two.

        Args:
            other: The counts to add.

        Returns:
            The sums; of `held_over_budget`, which both see, the larger one.
        """
        both = {each: getattr(self, each) + getattr(other, each) for each in NAMES}
        both["held_over_budget"] = max(self.held_over_budget, other.held_over_budget)
        return Counts(**both)

    def at_end(self) -> Counts:
        """Tell what is left of the counts when their process has ended.

        Returns:
            The same counts without `held_over_budget`: it holds nothing any more.
        """
        return replace(self, held_over_budget=0)


NAMES = tuple(each.name for each in fields(Counts))
"""In the order of a process's file. New ones come last, so a batten that knows fewer reads only
those that it knows."""

_BEGINNING_SECONDS = 3600.0
_PLACES = {name: place for place, name in enumerate(NAMES)}
_SIZE = 8 * len(NAMES)
_TOTAL_BYTES_MAX = RECORD_BYTES_MAX["cache total"]

Counted = Annotated[int, Number(-(1 << 62), 1 << 62)]


@value_class
class Total:
    """`statistics/total`: the counts of processes that have ended. Those of the files `merged` are
    among them; such a file only waits to be deleted."""

    counts: Annotated[dict[str, Counted], Many(1000)]
    merged: Annotated[list[Piece], Many(10**6)] = field(default_factory=list)

    bytes_max: ClassVar[int] = _TOTAL_BYTES_MAX


class Counter:
    """Counts of this process. Threads may share it; a forked process begins anew. Where the disk
    can't be told, the counts are those of the process alone."""

    def __init__(self, layout: CacheLayout) -> None:
        self._layout = layout
        self._held: Held | None = None
        self._begin()

    def __del__(self) -> None:
        """A process that opens many caches keeps a descriptor of those alone that it has."""
        if self._held is not None and os.getpid() == self._process:
            self._held.release()

    def _begin(self) -> None:
        if self._held is not None:
            self._held.abandon()
        self._mutex = threading.Lock()
        self._process = os.getpid()
        self._values = memoryview(bytearray(_SIZE)).cast("q")
        self._held = None
        self._is_tried = False

    def add(self, name: str, count: int = 1) -> None:
        if os.getpid() != self._process:
            self._begin()
        with self._mutex:
            if self._held is None and not self._is_tried:
                self._is_tried = True
                with suppress(OSError):
                    self._make_file()
            self._values[_PLACES[name]] += count

    def set(self, name: str, count: int) -> None:
        self.add(name, count - self._values[_PLACES[name]])

    def snapshot(self) -> Counts:
        return Counts(**dict(zip(NAMES, self._values, strict=True)))

    def _make_file(self) -> None:
        path = fresh_name(self._layout.statistics, "counts")
        folders.ensure_folder(self._layout.statistics, below=self._layout.root)
        held = folders.create_held(path, below=self._layout.root)
        try:
            held.try_lock(is_shared=False)
            self._values = folders.map_over(held.descriptor, path, bytes(self._values)).cast("q")
        except OSError:
            held.release()
            folders.remove_file(path, below=self._layout.root)
            raise
        self._held = held


def load_total(layout: CacheLayout) -> Counts:
    """The counts of all processes, those at work included. What can't be read is left out."""
    total = _load_ended(layout)
    counts = _as_counts(total.counts)
    for name in _names(layout):
        if name not in total.merged:
            with suppress(OSError):
                found = _load(f"{layout.statistics}/{name}")
                counts = counts.plus(found.at_end() if _has_ended(layout, name) else found)
    return counts


def merge_ended(layout: CacheLayout) -> None:
    """Add the counts of processes that have ended to the total, and delete their files. May be
    killed anywhere: nothing is counted twice. One process at a time may do it."""
    total = _load_ended(layout)
    present = _names(layout)
    merged = [name for name in total.merged if name in present]
    counts = _as_counts(total.counts)
    ended = [name for name in present if name not in merged and _has_ended(layout, name)]
    for name in ended:
        counts = counts.plus(_load(f"{layout.statistics}/{name}").at_end())
    if ended:
        merged += ended
        data = encode_record(Total(counts=dict(vars(counts)), merged=merged))
        folder = layout.statistics.removeprefix(f"{layout.root}/")
        replace_file(LocalStorage(layout.root), folder, f"{folder}/{TOTAL}", data)
    for name in merged:
        folders.remove_file(f"{layout.statistics}/{name}", below=layout.root)


def _load_ended(layout: CacheLayout) -> Total:
    try:
        data = read_file(f"{layout.statistics}/{TOTAL}", _TOTAL_BYTES_MAX)
        return decode_record(Total, data or b"")
    except Unreadable:
        return Total(counts={})


def _as_counts(counts: dict[str, int]) -> Counts:
    """An earlier batten may not have counted all; a later one may count more."""
    return Counts(**{name: counts[name] for name in NAMES if name in counts}).at_end()


def _load(path: str) -> Counts:
    """Nothing if a crash came between the file and its first count."""
    opened = open_file(path)
    if opened is None:
        return Counts()
    descriptor, _ = opened
    try:
        data = os.read(descriptor, _SIZE)
    finally:
        close_read(descriptor)
    numbers = memoryview(data[: len(data) // 8 * 8]).cast("q")
    return Counts(**dict(zip(NAMES, numbers, strict=False)))


def _names(layout: CacheLayout) -> list[str]:
    try:
        return sorted(filter(is_counts, os.listdir(layout.statistics)))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _has_ended(layout: CacheLayout, name: str) -> bool:
    """A file is locked before anything is written to it; until then its process is given time."""
    path = f"{layout.statistics}/{name}"
    try:
        status = os.lstat(path)
        if not status.st_size and time.time() - status.st_mtime < _BEGINNING_SECONDS:
            return False
    except FileNotFoundError:
        return False
    held = hold_file(path)
    if held is None:
        return False
    try:
        return held.try_lock(is_shared=False)
    finally:
        held.release()


@value_class
class Statistics:
    """What a cache did and what it holds.

    Attributes:
        process: What this process did with it.
        total: What all processes did with it that ever used it.
        entries: How many entries it holds.
        bytes: What they take on disk, in bytes.
    """

    process: Counts
    total: Counts
    entries: int
    bytes: int
