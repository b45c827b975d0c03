"""The files of items, held against the records of what has a place. Reads only.

A look tells what is gone, what has another size, and what is somebody's. `verify` reads each file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from batten.errors import StorageError
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.reasons import name_reason
from batten.ledger.facts.strays import is_hidden
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.item_files import PlacedFiles, digest_of, size_of
from batten.model.disk.item_names import NamePattern
from batten.model.disk.names import Layout, find_number
from batten.model.disk.published import Published
from batten.model.disk.records import Config, Delivery, NewerFormat, Unreadable, decode_record
from batten.model.rules.findings import Code, Finding
from batten.model.telling.counts import count_of
from batten.model.words import FILES
from batten.storage.base import Entry, Store, describe_kind
from batten.storage.digests import find_digest
from batten.storage.relative import last_piece

DEPTH_MAX = 64
"""Folders that lie deeper are somebody's."""


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
    if given is None and (config is None or config.sink != FILES):
        return
    records: dict[int, PlacedFiles] = {}
    for batch, found in _read_records(storage, layout):
        if isinstance(found, Finding):
            yield found
        else:
            records[batch] = found
    lacking = [batch for batch in range(given.batches if given else 0) if batch not in records]
    if lacking and given is not None:
        evidence = f"the records of {count_of(len(lacking), 'batch', 'batches')} are gone"
        yield Finding(code=Code.UNDELIVERED, path=given.target, evidence=evidence)
    try:
        there = {entry.name: entry for entry in _walk(storage, layout.output, DEPTH_MAX)}
    except StorageError as error:
        path, evidence = layout.output, name_reason(error)
        yield Finding(code=Code.UNREADABLE_FOLDER, path=path, evidence=evidence)
        return
    marks: dict[str, set[str]] = {}
    for record in records.values():
        for name in {*record.files, *record.leaving}:
            marks.setdefault(name, set()).update(record.marks_of(name))
    for record in records.values():
        yield from _compare(layout, record, there, None if _is_current(record, current) else marks)
    if not lacking:
        names = _find_pattern(config)
        start = len(layout.output) + 1
        for name in sorted(there):
            if name[start:] not in marks:
                yield _tell_foreign(name, name[start:], names)


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
    there = {entry.name: entry for entry in _walk(storage, layout.output, DEPTH_MAX)}
    for batch, record in _read_records(storage, layout):
        if isinstance(record, Finding) or not _is_current(record, current):
            continue
        for name, mark in record.files.items():
            full = f"{layout.output}/{name}"
            entry = there.get(full)
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


def _compare(
    layout: Layout,
    record: PlacedFiles,
    there: dict[str, Entry],
    others: dict[str, set[str]] | None,
) -> Iterator[Finding]:
    """`others` are the marks that a file may have as well; None where its own is the only one."""
    for name, mark in record.files.items():
        path = f"{layout.output}/{name}"
        entry = there.get(path)
        if entry is None:
            if others is None:
                evidence = f"it is gone; {count_of(size_of(mark), 'byte')} were written"
                yield Finding(
                    code=Code.LOST_ITEM_FILE, path=path, evidence=evidence, batch=record.batch
                )
            continue
        sizes = {size_of(each) for each in ((mark,) if others is None else others[name])}
        if not entry.is_file:
            evidence = f"{describe_kind(entry)} lies where the file should be"
        elif entry.size not in sizes:
            evidence = f"it has {entry.size} bytes; {size_of(mark)} were written"
        else:
            continue
        yield Finding(code=Code.CHANGED_ITEM_FILE, path=path, evidence=evidence, batch=record.batch)


def _tell_foreign(path: str, name: str, names: NamePattern | None) -> Finding:
    if names is not None and names.is_like(name) and not is_hidden(name):
        evidence = "it is no item's, and readers of the folder take it for one"
        return Finding(code=Code.STRAY_FILE, path=path, evidence=evidence)
    return Finding(code=Code.FOREIGN_FILE, path=path, evidence="no item's")


def _find_pattern(config: Config | None) -> NamePattern | None:
    text = "" if config is None else config.fingerprint.parts.get("files", "")
    return NamePattern(text=text) if text else None
