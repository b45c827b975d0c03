"""The files of what calls used: one for each run, added to as it is told (decision 0118)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from functools import partial

from batten.model.disk.names import Layout, is_usage
from batten.model.disk.runs.usage_lines import UsageLine, decode_usage_line, encode_usage_line
from batten.storage.base import Store
from batten.storage.changing.publishing import settle, sync_file
from batten.storage.relative import last_piece

_LINE_BYTES_MAX = 1 << 22
_pieces = itertools.count()
_attempts = itertools.count()


class UsageJournal:
    """What calls of one run use. Any number of threads and processes may write at a time."""

    def __init__(self, storage: Store, layout: Layout, run: str) -> None:
        self._storage = storage
        self._layout = layout
        self._run = run
        self._synced_bytes = 0

    def write(self, line: UsageLine) -> None:
        """It outlives this process when this returns. Raises `StorageError`."""
        data = encode_usage_line(line)
        if self._storage.folder is not None:
            self._storage.folder.append(self._layout.usage(self._run), data)
            return
        piece = f".{os.getpid()}-{next(_pieces):09}"
        settle(
            self._storage,
            partial(self._storage.put_new, self._layout.usage(self._run, piece), data),
        )

    def name_attempt(self) -> str:
        """A name that no other attempt has, in any run: numbers of processes come again."""
        return f"{self._run}-{os.getpid()}-{next(_attempts)}"

    def sync(self) -> None:
        """What was written outlives a power cut, too."""
        if self._storage.folder is None:
            return
        found = self._storage.find(self._layout.usage(self._run))
        if found is not None and found.size != self._synced_bytes:
            sync_file(self._storage, found.name)
            self._synced_bytes = found.size


class UsageTail:
    """Reads on in what one run tells, as it grows; unless it `is_alone`, also in what others tell
    that begin from now on. What was there at first was read otherwise."""

    def __init__(self, storage: Store, layout: Layout, run: str, *, is_alone: bool) -> None:
        self._storage = storage
        self._layout = layout
        self._is_alone = is_alone
        self._name = layout.usage(run)
        self._own_pieces = f"{layout.runs}/{run}."
        self._read = set(self._list_names())
        self._offsets: dict[str, int] = {}
        if storage.folder is not None:
            self._read.discard(self._name)
            found = storage.find(self._name)
            self._offsets[self._name] = found.size if found is not None else 0

    def read_on(self) -> Iterator[UsageLine | None]:
        """The lines that came since; None for one that can't be understood."""
        for name in self._list_names():
            if name in self._read:
                continue
            if self._storage.folder is not None:
                yield from self._read_file(name)
            else:
                self._read.add(name)
                yield decode_usage_line(self._storage.read(name))

    def _read_file(self, name: str) -> Iterator[UsageLine | None]:
        offset = self._offsets.get(name, 0)
        try:
            data = self._storage.read(name, offset=offset, bytes_max=None)
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offsets[name] = offset + len(whole)
        for line in whole.split(b"\n"):
            if line:
                yield decode_usage_line(line)

    def _list_names(self) -> list[str]:
        if self._is_alone and self._storage.folder is not None:
            return [self._name]
        found = list_journals(self._storage, self._layout)
        return [name for name in found if not self._is_alone or name.startswith(self._own_pieces)]


def sync_journals(storage: Store, layout: Layout) -> None:
    """What all runs told outlives a power cut. Who goes on publishes what they staged."""
    if storage.folder is not None:
        for name in list_journals(storage, layout):
            sync_file(storage, name)


def list_journals(storage: Store, layout: Layout) -> list[str]:
    """The names of all files of what calls used, in the order of the runs."""
    names = (last_piece(name) for name in storage.list_names(layout.runs))
    return [f"{layout.runs}/{name}" for name in sorted(filter(is_usage, names))]


def read_journals(storage: Store, layout: Layout) -> Iterator[UsageLine | None]:
    """The lines of all runs, in order; None for one that can't be understood. A line that was torn
    by a kill is none."""
    for name in list_journals(storage, layout):
        yield from read_journal(storage, name)


def read_journal(storage: Store, name: str) -> Iterator[UsageLine | None]:
    """The same of one file; nothing if it is gone."""
    try:
        file = storage.open(name)
    except FileNotFoundError:
        return
    with file:
        while line := file.readline(_LINE_BYTES_MAX):
            if len(line) > 1:
                yield decode_usage_line(line)
