"""Landing: what can't be read twice is first written down, in files that never change.

    batten.land(read_from, into="landed/", acknowledge=commit)
    pipeline = batten.from_landed("landed/").map(handle).write_parquet("handled/")

A file appears whole, under the offsets that it holds; the names are the progress. So a landing that
was killed goes on where its last file ends, and nothing is landed twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from batten.errors import InconsistentError, InterruptedRunError, StorageError, UsageError
from batten.jobs.loading.job_folder import current_folder, refuse_output, refuse_place, show_path
from batten.model.disk.landed import OFFSET_MAX, LandedFile, encode_end, encode_line
from batten.model.disk.names import Layout
from batten.model.disk.throwaway_names import is_throwaway
from batten.pipeline.pipeline import Pipeline
from batten.run.signals import StopSignals
from batten.sources.landed import LandedSource, list_landed
from batten.storage.addresses import local_path
from batten.storage.changing.orphans import delete_orphans, find_throwaway
from batten.storage.changing.publishing import create
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.output_lock import take_lock

Stream = Iterable[Any] | Callable[[int], Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class Landed:
    """What one call of `land` landed.

    Attributes:
        items: How many items it wrote.
        files: How many files hold them.
        next_offset: The offset at which the next call goes on.
    """

    items: int
    files: int
    next_offset: int


def land(
    stream: Stream,
    *,
    into: str | os.PathLike[str],
    offset: Callable[[Any], int] | None = None,
    acknowledge: Callable[[int], object] | None = None,
    items_max: int = 10_000,
    seconds_max: float = 5.0,
) -> Landed:
    """Write what a stream gives into files that never change; return when the stream ends.

    Each file is durable before the next is begun. A landing that was killed goes on where its last
    file ends, and leaves out what is given again. However it ends, short of a kill, what was taken
    is written.

    Args:
        stream: An iterable of items, or a function that is called with an offset and gives the
            items from there on. Items are what JSON can hold. None stands for "nothing now": give
            it now and then, so that what is held is written in time and signals are heard.
        into: The folder of the files. It is made if it is missing.
        offset: Returns the place of an item in the stream, a whole number that grows. By default
            the items are counted, from 0.
        acknowledge: Called after each file is durable, with the offset after its last item. Only
            then may the stream forget. By default nobody is told.
        items_max: How many items a file holds at most; 10,000 by default.
        seconds_max: A file holds about what came within so many seconds; 5 by default.

    Returns:
        What this call landed, and where the next one goes on.

    Raises:
        UsageError: An item is not what JSON can hold. What came before it in files is landed.
        RefusedError: The folder is that of a dataset, or lies in one. Nothing was landed.
        InconsistentError: Offsets do not grow, or two files hold the same ones. What was landed
            stays.
        BusyError: Another process lands there. Nothing was changed.
        InterruptedRunError: A signal came. All that was taken is landed.
        StorageError: The disk is full or failing. Files that were acknowledged stay.
    """
    folder = current_folder() / local_path(into)
    refuse_place(folder)
    refuse_output(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    storage, layout = LocalStorage(folder.parent), Layout(folder.name)
    storage.ensure_folder(layout.control)
    with StopSignals() as signals, take_lock(storage, layout, show_path(folder)):
        for made in (layout.staging, layout.output):
            storage.ensure_folder(made)
        throwaway = find_throwaway(storage, layout.staging, is_throwaway)
        delete_orphans(storage, [entry.name for entry in throwaway])
        landing = _Landing(storage, layout, folder, acknowledge)
        given = stream(landing.next_offset) if callable(stream) else stream
        try:
            for item in given:
                if item is not None:
                    landing.take(item, offset)
                if signals.received is not None:
                    break
                if landing.is_due(items_max, seconds_max):
                    landing.flush()
        except StorageError:
            raise
        except Exception:
            landing.flush()
            raise
        landing.flush()
        if signals.received is not None:
            raise InterruptedRunError(
                f"Stopped by {signals.received}.",
                safe=f"All that was taken is landed, up to offset {landing.next_offset - 1}.",
                next="Run it again: it goes on there.",
            )
    return Landed(items=landing.items, files=landing.files, next_offset=landing.next_offset)


class _Landing:
    """The items of the stream that are held, and how far it is landed. Under the lock."""

    def __init__(
        self,
        storage: LocalStorage,
        layout: Layout,
        folder: Path,
        acknowledge: Callable[[int], object] | None,
    ) -> None:
        self._storage = storage
        self._layout = layout
        self._acknowledge = acknowledge
        self._lines: list[bytes] = []
        self._first = 0
        self._since = time.monotonic()
        before = list_landed(folder)
        _refuse_overlaps(before)
        # A crash may have come between a file's appearance and its name being durable.
        storage.sync_names(layout.output)
        self.landed_offset = before[-1].last + 1 if before else 0
        self.next_offset = self.landed_offset
        self.items = 0
        self.files = 0

    def take(self, item: Any, offset: Callable[[Any], int] | None) -> None:
        """Hold the item, unless it was landed before."""
        place = self.next_offset if offset is None else offset(item)
        if place < self.landed_offset:
            return
        if place < self.next_offset or place > OFFSET_MAX:
            raise InconsistentError(
                f"The stream gives offset {place} after {self.next_offset - 1}.",
                safe=f"What came before it is landed, up to offset {self.landed_offset - 1}.",
                next="Give items in the order of their offsets, which must grow.",
            )
        try:
            line = encode_line(place, item)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"The item of offset {place} can't be landed: {error}.",
                safe=f"What came before it is landed, up to offset {self.landed_offset - 1}.",
                next="Make of it what JSON can hold: texts, numbers, lists, dicts.",
            ) from error
        if not self._lines:
            self._first, self._since = place, time.monotonic()
        self._lines.append(line)
        self.next_offset = place + 1

    def is_due(self, items_max: int, seconds_max: float) -> bool:
        """Whether what is held has become much or old."""
        if not self._lines:
            return False
        return len(self._lines) >= items_max or time.monotonic() - self._since >= seconds_max

    def flush(self) -> None:
        """Land what is held; durable on return."""
        if not self._lines:
            return
        name = f"{self._layout.output}/{LandedFile(self._first, self.next_offset - 1).name}"
        create(
            self._storage,
            self._layout.staging,
            name,
            b"".join([*self._lines, encode_end(self._lines)]),
        )
        self.items += len(self._lines)
        self.files += 1
        self._lines.clear()
        self.landed_offset = self.next_offset
        if self._acknowledge is not None:
            self._acknowledge(self.next_offset)


def _refuse_overlaps(files: list[LandedFile]) -> None:
    for before, after in pairwise(files):
        if after.first <= before.last:
            raise InconsistentError(
                f"{before.name} and {after.name} hold the same offsets.",
                safe="Nothing was changed.",
                next="Move away the one that batten did not land there.",
            )


def from_landed(path: str | os.PathLike[str]) -> Pipeline:
    """Begin with the items of a folder that `land` fills, in their order; the key is the offset.

    Args:
        path: The folder; relative to the folder of the job file, or to the current one.

    Returns:
        A pipeline without steps.

    Raises:
        UsageError: The path names a place with a scheme. Nothing was read.
    """
    folder = current_folder()
    return Pipeline(source=LandedSource(path, folder=folder), folder=folder)
