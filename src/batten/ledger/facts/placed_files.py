"""The files of items, held against the records of what has a place. Reads only.

A look tells what is gone, what has another size, and what is somebody's. `verify` reads each file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from hashlib import blake2b

from batten.errors import StorageError
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.reasons import name_reason
from batten.ledger.facts.strays import is_hidden
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.items.item_files import PlacedFiles, digest_of, size_of
from batten.model.disk.items.item_names import NamePattern
from batten.model.disk.names import Layout, find_number
from batten.model.disk.published import Published
from batten.model.disk.records import Config, NewerFormat, Unreadable, decode_record
from batten.model.rules.findings import Code, Finding
from batten.model.telling.counts import count_of
from batten.model.telling.sizes import tell_other_size, tell_written
from batten.model.words import FILES
from batten.storage.base import Entry, Store, describe_kind
from batten.storage.digests import find_digest
from batten.storage.relative import last_piece

DEPTH_MAX = 64
"""Folders that lie deeper are somebody's."""


def has_item_files(config: Config | None, deliveries: Iterable[Delivery]) -> bool:
    """Whether items have files of their own there."""
    is_theirs = config is not None and config.sink == FILES
    return is_theirs or any(each.kind == FILES for each in deliveries)


def look_at_files(
    storage: Store,
    layout: Layout,
    config: Config | None,
    deliveries: Iterable[Delivery],
    current: Mapping[int, str] | None,
) -> Iterator[Finding]:
    """What is not as the records say, and what they say nothing of. `current` are the digests of
    the parts by batch; None where all records are of them. Of other batches files are getting their
    places, and any may be gone."""
    given = next((each for each in deliveries if each.kind == FILES), None)
    look = _FilesLook(storage, layout, given, current)
    try:
        with storage.folder.steady() if storage.folder is not None else nullcontext():
            yield from look.compare()
            if not look.lacking:
                yield from look.find_foreign(_find_pattern(config))
    except _UnreadableFolderError as error:
        path, evidence = layout.output, name_reason(error.failure)
        yield Finding(code=Code.UNREADABLE_FOLDER, path=path, evidence=evidence)


class _UnreadableFolderError(Exception):
    def __init__(self, failure: StorageError) -> None:
        super().__init__(failure)
        self.failure = failure


class _FilesLook:
    """Goes through records and folders name by name, so that memory does not grow with the files:
    only names of batches that are not current are kept, and sums of all names."""

    def __init__(
        self,
        storage: Store,
        layout: Layout,
        given: Delivery | None,
        current: Mapping[int, str] | None,
    ) -> None:
        self._storage, self._layout, self._given = storage, layout, given
        self._current = current
        self._recorded = NameSums()
        self.lacking = 0

    def compare(self) -> Iterator[Finding]:
        """Each file that a record names, held against what is there."""
        batches: set[int] = set()
        uncertain: list[PlacedFiles] = []
        for batch, found in _read_records(self._storage, self._layout):
            if isinstance(found, Finding):
                yield found
                continue
            batches.add(batch)
            is_current = _is_current(found, self._current)
            if not is_current:
                uncertain.append(found)
            for name in found.leaving.keys() - found.files.keys():
                self._look_up(name)
            for name, mark in found.files.items():
                entry = self._look_up(name)
                if is_current:
                    yield from self._hold_against(found, name, entry, mark)
        if self._given is not None:
            self.lacking = sum(batch not in batches for batch in range(self._given.batches))
        if self.lacking and self._given is not None:
            evidence = f"the records of {count_of(self.lacking, 'batch', 'batches')} are gone"
            yield Finding(code=Code.UNDELIVERED, path=self._given.target, evidence=evidence)
        yield from self._compare_uncertain(uncertain)

    def _compare_uncertain(self, records: Sequence[PlacedFiles]) -> Iterator[Finding]:
        """Files that are getting their places: each may be gone, or have any mark of its name."""
        marks: dict[str, set[str]] = {name: set() for each in records for name in each.files}
        for _, record in _read_records(self._storage, self._layout) if marks else ():
            if isinstance(record, PlacedFiles):
                for name in marks.keys() & {*record.files, *record.leaving}:
                    marks[name].update(record.marks_of(name))
        for record in records:
            for name, mark in record.files.items():
                entry = self._find(name)
                if entry is not None:
                    yield from self._hold_against(record, name, entry, mark, marks[name])

    def _look_up(self, name: str) -> Entry | None:
        entry = self._find(name)
        if entry is not None:
            self._recorded.add(name)
        return entry

    def _find(self, name: str) -> Entry | None:
        """What lies there; None if it is nothing, or a folder."""
        try:
            entry = self._storage.find(f"{self._layout.output}/{name}")
        except StorageError as error:
            if error.errno in _NOTHING_THERE:
                return None
            raise _UnreadableFolderError(error) from error
        return None if entry is None or entry.is_folder else entry

    def _hold_against(
        self,
        record: PlacedFiles,
        name: str,
        entry: Entry | None,
        mark: str,
        others: Collection[str] = (),
    ) -> Iterator[Finding]:
        """`others` are marks that the file may have as well."""
        path, code = f"{self._layout.output}/{name}", Code.CHANGED_ITEM_FILE
        if entry is None:
            code = Code.LOST_ITEM_FILE
            evidence = f"it is gone; {tell_written(size_of(mark))}"
        elif not entry.is_file:
            evidence = f"{describe_kind(entry)} lies where the file should be"
        elif entry.size not in map(size_of, (mark, *others)):
            evidence = f"it {tell_other_size(entry.size, size_of(mark))}"
        else:
            return
        yield Finding(code=code, path=path, evidence=evidence, batch=record.batch)

    def find_foreign(self, names: NamePattern | None) -> Iterator[Finding]:
        """What no record names. Only names whose sums differ are kept and compared."""
        there = NameSums()
        for name in self._walk():
            there.add(name)
        differing = self._recorded.find_differing(there)
        if not differing:
            return
        foreign = {name for name in self._walk() if there.bucket_of(name) in differing}
        for _, record in _read_records(self._storage, self._layout):
            if isinstance(record, PlacedFiles):
                foreign.difference_update(record.files, record.leaving)
        for name in sorted(foreign):
            yield _tell_foreign(f"{self._layout.output}/{name}", name, names)

    def _walk(self) -> Iterator[str]:
        start = len(self._layout.output) + 1
        try:
            for entry in _walk(self._storage, self._layout.output, DEPTH_MAX):
                yield entry.name[start:]
        except StorageError as error:
            raise _UnreadableFolderError(error) from error


_NOTHING_THERE = frozenset({errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL})
"""What is answered where a name leads over something that is no folder, or can't be one."""


def find_changed_item_files(storage: Store, observation: Observation) -> Iterator[Finding]:
    """The files whose bytes are not those that were made; each is read."""
    for name, mark, batch in _list_whole(storage, observation):
        try:
            told = f"its SHA-256 is {find_digest(storage, name)}"
        except StorageError as error:
            told = name_reason(error)
        if digest_of(mark) not in told:
            evidence = f"{told}, not {digest_of(mark)}"
            yield Finding(code=Code.CHANGED_ITEM_FILE, path=name, evidence=evidence, batch=batch)


def list_item_file_sizes(storage: Store, observation: Observation) -> list[int]:
    """Of the files that a reading of all of them reads."""
    return [size_of(mark) for _, mark, _ in _list_whole(storage, observation)]


def list_current(published: Mapping[int, Published], recorded: Collection[int]) -> dict[int, str]:
    """The digests of the parts whose records are there. Without one it may be about to be made
    anew."""
    return {batch: str(published[batch].digest) for batch in recorded if batch in published}


def _is_current(record: PlacedFiles, current: Mapping[int, str] | None) -> bool:
    if current is None:
        return bool(record.content)
    return bool(record.content) and current.get(record.batch) == record.content


def _list_whole(storage: Store, observation: Observation) -> Iterator[tuple[str, str, int]]:
    """Name, mark and batch of the files that are there with the size that they should have."""
    layout, config = observation.layout, observation.config
    if config is None or config.sink != FILES:
        return
    current = list_current(observation.claims, observation.recorded)
    for batch, record in _read_records(storage, layout):
        if isinstance(record, Finding) or not _is_current(record, current):
            continue
        for name, mark in record.files.items():
            full = f"{layout.output}/{name}"
            try:
                entry = storage.find(full)
            except StorageError:
                continue  # The look has told of it.
            if entry is not None and entry.is_file and entry.size == size_of(mark):
                yield full, mark, batch


def _read_records(storage: Store, layout: Layout) -> Iterator[tuple[int, PlacedFiles | Finding]]:
    for entry in sorted(storage.list(layout.files), key=lambda each: each.name):
        batch = find_number(last_piece(entry.name), "json")
        if batch is None or not entry.is_file:
            evidence = "not a name that batten gives"
            yield -1, Finding(code=Code.FOREIGN_FILE, path=entry.name, evidence=evidence)
            continue
        try:
            data = storage.read(entry.name, bytes_max=RECORD_BYTES_MAX["files"])
            yield batch, decode_record(PlacedFiles, data)
        except FileNotFoundError:
            continue
        except (Unreadable, StorageError) as error:
            is_newer = isinstance(error, NewerFormat)
            code = Code.NEWER_FORMAT if is_newer else Code.UNREADABLE_FILES_RECORD
            yield batch, Finding(code=code, path=entry.name, evidence=name_reason(error))


def _walk(storage: Store, folder: str, depth: int) -> Iterator[Entry]:
    for entry in storage.list(folder):
        if entry.is_folder and depth:
            yield from _walk(storage, entry.name, depth - 1)
        else:
            yield entry


def _tell_foreign(path: str, name: str, names: NamePattern | None) -> Finding:
    if names is not None and names.is_like(name) and not is_hidden(name):
        evidence = "it is no item's, and readers of the folder take it for one"
        return Finding(code=Code.STRAY_FILE, path=path, evidence=evidence)
    return Finding(code=Code.FOREIGN_FILE, path=path, evidence="no item's")


def _find_pattern(config: Config | None) -> NamePattern | None:
    text = "" if config is None else config.fingerprint.parts.get("files", "")
    return NamePattern(text=text) if text else None


_BUCKETS = 512
_SALT = os.urandom(16)
"""So that nobody can make names whose sums are alike."""


class NameSums:
    """Sums of the digests of names, in buckets. Where those of a bucket differ, its names have to
    be compared: they are others, or one came twice."""

    def __init__(self) -> None:
        self._sums = [0] * _BUCKETS

    def add(self, name: str) -> None:
        digest = _digest(name)
        self._sums[digest % _BUCKETS] += digest

    def bucket_of(self, name: str) -> int:
        return _digest(name) % _BUCKETS

    def find_differing(self, other: NameSums) -> set[int]:
        """The buckets that have other names here than there."""
        pairs = zip(self._sums, other._sums, strict=True)
        return {bucket for bucket, (own, others) in enumerate(pairs) if own != others}


def _digest(name: str) -> int:
    data = name.encode(errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=16, key=_SALT).digest(), "little")
