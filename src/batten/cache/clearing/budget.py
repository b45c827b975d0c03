"""How much the entries may take on disk, and which go when it is too much: those used longest ago.

The lock of the budget is held while an entry takes its place or goes. Its text is the sum of all
sizes, so that nobody has to add them up. While entries are evicted it is empty. It is added up anew
when it is empty or torn, or from before the machine started. A kill at the moment in which an entry
takes its place may leave it too high by that entry; it is never too low.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, NamedTuple

from batten.cache.cache_files import hold_file, is_held, open_file
from batten.cache.clearing.counts import Counter
from batten.model.cached.cache_names import MANIFEST, CacheLayout, is_entry, is_shard
from batten.model.cached.manifests import SIZE_BYTES, find_size
from batten.model.disk.bounds import RECORD_BYTES_MAX, Bytes, Name
from batten.model.disk.records import Unreadable, decode_record, encode_record
from batten.model.value_class import value_class
from batten.storage.beneath import close_read
from batten.storage.local import folders
from batten.storage.local.locking.held import Held

_TEXT_BYTES_MAX = RECORD_BYTES_MAX["cache sum"]


@value_class
class Sum:
    """The text of the budget's lock: what all entries take, in bytes, and the start of the machine
    since which that was kept."""

    size: Bytes
    boot: Name

    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["cache sum"]


class Used(NamedTuple):
    """An entry by the time of its last use, in nanoseconds since 1970. A tuple, since as many as
    there are entries are sorted."""

    nanoseconds: int
    key: str


class Publication(Enum):
    """What came of publishing an entry."""

    DONE = "done"
    OCCUPIED = "another is there"
    NO_ROOM = "no room"


@dataclass(kw_only=True)
class Ledger:
    """The sum while its lock is held. `is_told`: it is what the text says."""

    held: Held
    size: int
    is_told: bool


class Budget:
    """`max_bytes` is None for no limit. `disk_free_min` is what must stay free on the disk, in
    bytes. `held_over` is by how much entries in use held it over at the last look."""

    def __init__(
        self,
        layout: CacheLayout,
        counter: Counter,
        boot: str,
        *,
        max_bytes: int | None,
        disk_free_min: int,
    ) -> None:
        self._layout = layout
        self._counter = counter
        self._boot = boot
        self._max_bytes = max_bytes
        self._disk_free_min = disk_free_min
        self._queue: deque[Used] = deque()
        self.held_over = 0

    def publish(self, source: str, key: str, size: int) -> Publication:
        """Make room, then move the folder to its place."""
        if self._max_bytes is not None and size > self._max_bytes:
            return Publication.NO_ROOM
        with self._locked() as ledger:
            self._make_room(ledger, size)
            if self._is_disk_full():
                return Publication.NO_ROOM
            ledger.size += size
            self._tell(ledger)
            if not folders.move_folder(source, self._layout.entry(key), below=self._layout.root):
                ledger.size, ledger.is_told = ledger.size - size, False
                return Publication.OCCUPIED
        return Publication.DONE

    def settle(self) -> None:
        """Evict what is over the budget, now that an entry is no longer in use."""
        with self._locked() as ledger:
            self._make_room(ledger, 0)

    def remove(self, chosen: Iterable[Used]) -> None:
        """Evict these, but what came into use meanwhile; and add up what is left."""
        with self._locked() as ledger:
            for used in chosen:
                self._evict(ledger, used)
            ledger.size, ledger.is_told = self.observe(), False

    def forget(self, size: int) -> None:
        """An entry was moved away."""
        with self._locked() as ledger:
            ledger.size, ledger.is_told = max(0, ledger.size - size), False

    def observe(self) -> int:
        """What all entries take, added up."""
        return sum(size for _, size in scan_sizes(self._layout))

    @contextmanager
    def _locked(self) -> Iterator[Ledger]:
        held = self._lock()
        try:
            try:
                ledger = Ledger(held=held, size=self._read(held), is_told=True)
            except Unreadable:
                ledger = Ledger(held=held, size=self.observe(), is_told=False)
            try:
                yield ledger
                if not ledger.is_told:
                    self._tell(ledger)
            except OSError:
                # Nobody knows what happened, so the next process that looks adds it up.
                with suppress(OSError):
                    self._withdraw(ledger)
                raise
        finally:
            held.release()

    def _lock(self) -> Held:
        held = folders.lock_within(self._layout.budget, should_wait=True, below=self._layout.root)
        if held is None:
            raise BlockingIOError(f"{self._layout.budget} is locked")
        return held

    def _read(self, held: Held) -> int:
        text = decode_record(Sum, os.pread(held.descriptor, _TEXT_BYTES_MAX, 0))
        if text.boot != self._boot or not self._boot:
            raise Unreadable("it is from before the machine started")
        return text.size

    def _tell(self, ledger: Ledger) -> None:
        text = encode_record(Sum(size=ledger.size, boot=self._boot))
        folders.rewrite(ledger.held.descriptor, self._layout.budget, text)
        ledger.is_told = True

    def _withdraw(self, ledger: Ledger) -> None:
        ledger.is_told = False
        folders.rewrite(ledger.held.descriptor, self._layout.budget, b"")

    def _make_room(self, ledger: Ledger, size: int) -> None:
        is_fresh = False
        while self._is_over(ledger.size + size) or self._is_disk_full():
            if not self._queue:
                if is_fresh:
                    break
                self._queue.extend(sorted(scan_used(self._layout)))
                is_fresh = True
                continue
            ledger.size = max(0, ledger.size - self._evict(ledger, self._queue.popleft()))
        over = ledger.size + size - (self._max_bytes or 0) if self._max_bytes is not None else 0
        self.held_over = max(0, over)
        self._counter.set("held_over_budget", self.held_over)

    def _is_over(self, size: int) -> bool:
        return self._max_bytes is not None and size > self._max_bytes

    def _is_disk_full(self) -> bool:
        if not self._disk_free_min:
            return False
        room = os.statvfs(self._layout.home)
        return room.f_bavail * room.f_frsize < self._disk_free_min

    def _evict(self, ledger: Ledger, used: Used) -> int:
        """The bytes that this freed; 0 if the entry is in use, or was used since."""
        if ledger.is_told:
            self._withdraw(ledger)
        size = evict(self._layout, used)
        if size is None:
            return 0
        self._counter.add("evictions")
        self._counter.add("evicted_bytes", size)
        return size


def evict(layout: CacheLayout, used: Used) -> int | None:
    """Remove the entry, if it is not in use and was not used since; gives its size, or None."""
    folder = layout.entry(used.key)
    path = f"{folder}/{MANIFEST}"
    held = hold_file(path)
    if held is None:
        return None
    try:
        if not held.try_lock(is_shared=False):
            return None
        status = held.find_status(path)
        if status is None or status.st_mtime_ns != used.nanoseconds:
            return None
        size = find_size(os.pread(held.descriptor, SIZE_BYTES, 0)) or 0
        folders.remove_tree(folder, first=MANIFEST, below=layout.root)
    finally:
        held.release()
    return size


def is_in_use(layout: CacheLayout, key: str) -> bool:
    """Whether a process holds the entry now."""
    return is_held(f"{layout.entry(key)}/{MANIFEST}")


def scan_keys(layout: CacheLayout) -> Iterator[str]:
    """The keys of all entries, in no order."""
    for shard in _scan(layout.entries):
        if is_shard(shard):
            for name in _scan(f"{layout.entries}/{shard}"):
                if is_entry(name):
                    yield shard + name


def scan_used(layout: CacheLayout) -> Iterator[Used]:
    """When each entry was used last, in no order."""
    for key in scan_keys(layout):
        with suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(f"{layout.entry(key)}/{MANIFEST}")
            yield Used(status.st_mtime_ns, key)


def scan_sizes(layout: CacheLayout) -> Iterator[tuple[Used, int]]:
    """The same, with the size of each."""
    for used in scan_used(layout):
        with suppress(FileNotFoundError, NotADirectoryError):
            yield used, read_size(layout, used.key)


def read_size(layout: CacheLayout, key: str) -> int:
    """The bytes that the entry takes, as its manifest says; 0 if that is damaged."""
    opened = open_file(f"{layout.entry(key)}/{MANIFEST}")
    if opened is None:
        return 0
    descriptor, _ = opened
    try:
        return find_size(os.read(descriptor, SIZE_BYTES)) or 0
    finally:
        close_read(descriptor)


def _scan(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
