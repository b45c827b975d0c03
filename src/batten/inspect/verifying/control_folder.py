"""Reads of the control folder what an observation does not: schema, keys, staged files, logs."""

from __future__ import annotations

from collections.abc import Iterator

from batten.errors import StorageError
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.reasons import name_reason
from batten.ledger.files.plan_file import KEY, PlanFile
from batten.ledger.files.schema_file import load_schema
from batten.ledger.history.runs import list_runs, read_run
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.items.key_digests import describe_keys
from batten.model.disk.items.row_digests import DIGEST_BYTES, open_digests
from batten.model.disk.items.versions import (
    VALUES_BYTES_MAX,
    bound_versions,
    decode_values,
    decode_versions,
)
from batten.model.disk.looked import LookedUpstream
from batten.model.disk.names import Layout
from batten.model.disk.records import NewerFormat, Segment, Unreadable, decode_record
from batten.model.disk.staged_names import find_staged
from batten.model.rules.findings import Code, Finding
from batten.model.telling.counts import count_of
from batten.storage.base import Store
from batten.storage.digests import digest_file
from batten.storage.failures import is_of_wrong_kind


def find_control_faults(
    storage: Store, observation: Observation, *, is_quick: bool
) -> Iterator[Finding]:
    """Findings about the schema, and unless quick, about keys, staged files and run logs."""
    layout = observation.layout
    if storage.find(layout.schema) is not None:
        try:
            load_schema(storage, layout.schema)
        except Unreadable as error:
            yield Finding(
                code=Code.UNREADABLE_SCHEMA, path=layout.schema, evidence=name_reason(error)
            )
    if is_quick:
        return
    for segment in observation.segments:
        evidence = _find_keys_fault(storage, layout, segment)
        if evidence is not None:
            name = layout.segment_keys(segment.number, segment.keys_digest)
            yield Finding(code=Code.UNREADABLE_PLAN, path=name, evidence=evidence)
        name = layout.segment_digests(segment.number)
        evidence = _find_digests_fault(storage, name, segment)
        if evidence is not None:
            yield Finding(code=Code.UNREADABLE_PLAN, path=name, evidence=evidence)
        yield from _find_versions_faults(storage, layout, segment)
    yield from _find_look_faults(storage, layout)
    yield from _find_result_faults(storage, observation)
    for entry in observation.staged:
        staged = find_staged(entry.name.rpartition("/")[2])
        if staged and not _digest(storage, entry.name).startswith(staged.digest):
            evidence = "its digest is not that of its name"
            yield Finding(code=Code.STAGED_DAMAGED, path=entry.name, evidence=evidence)
    for run in list_runs(storage, layout):
        damaged = read_run(storage, layout, run).damaged_lines
        if damaged:
            evidence = f"{damaged} of its lines can't be read, or are missing"
            yield Finding(code=Code.DAMAGED_LOG, path=layout.run_log(run), evidence=evidence)


def _find_keys_fault(storage: Store, layout: Layout, segment: Segment) -> str | None:
    """Either the keys file or the record that describes it is damaged. Nobody can tell which, so
    both are named."""
    if not segment.keys_size:
        return None
    record = layout.segment(segment.number)
    try:
        data = storage.read(
            layout.segment_keys(segment.number, segment.keys_digest), bytes_max=segment.keys_size
        )
    except FileNotFoundError:
        return None  # the observation has told of it
    except StorageError as error:
        return None if is_of_wrong_kind(error) else name_reason(error)  # likewise
    try:
        file = PlanFile(data, segment)
        for position in range(segment.batches):
            batch = file.read(position)
            if segment.is_keyed:
                found = describe_keys(batch.column(KEY).to_pylist())
                if found != segment.keys[position]:
                    return f"the keys of its batch {position} are not what {record} says"
    except Unreadable as error:
        return f"it is not what {record} says: {error}"
    return None


def _find_digests_fault(storage: Store, name: str, segment: Segment) -> str | None:
    try:
        digests = open_digests(storage.read(name))
    except FileNotFoundError:
        return None  # an earlier batten kept none
    except StorageError as error:
        return name_reason(error)
    if digests is None:
        return "its own digest does not fit: it was damaged"
    if len(digests) != DIGEST_BYTES * segment.items:
        size = count_of(len(digests), "byte")
        return f"it has {size} of digests for {count_of(segment.items, 'item')}"
    return None


def _find_versions_faults(storage: Store, layout: Layout, segment: Segment) -> Iterator[Finding]:
    def decode(data: bytes) -> object:
        return decode_versions(data, segment.items)

    number, bytes_max = segment.number, bound_versions(segment.items)
    for name, size, read in (
        (layout.segment_versions(number), bytes_max, decode),
        (layout.segment_values(number), VALUES_BYTES_MAX, decode_values),
    ):
        evidence = "it is damaged: its digest does not fit"
        try:
            is_whole = read(storage.read(name, bytes_max=size)) is not None
        except FileNotFoundError:
            continue
        except StorageError as error:
            is_whole, evidence = False, name_reason(error)
        if not is_whole:
            yield Finding(code=Code.UNREADABLE_PLAN, path=name, evidence=evidence)


def _find_look_faults(storage: Store, layout: Layout) -> Iterator[Finding]:
    """It may be lost, for it can be made again. What is there is to be whole."""
    name = layout.upstream
    try:
        data = storage.read(name, bytes_max=RECORD_BYTES_MAX["upstream"])
        decode_record(LookedUpstream, data)
    except FileNotFoundError:
        return
    except (Unreadable, StorageError) as error:
        is_newer = isinstance(error, NewerFormat)
        code = Code.NEWER_FORMAT if is_newer else Code.UNREADABLE_LOOK
        yield Finding(code=code, path=name, evidence=name_reason(error))


def _find_result_faults(storage: Store, observation: Observation) -> Iterator[Finding]:
    """It may be lost, for it can be made again (decision 0153). What is there is what all
    destinations have."""
    name, given = observation.layout.result, {each.content for each in observation.deliveries}
    if observation.completion is None:
        return
    try:
        evidence = "its digest is not that of what destinations were given"
        is_whole = f"sha256:{digest_file(storage, name)}" in given
    except FileNotFoundError:
        return
    except StorageError as error:
        is_whole, evidence = False, name_reason(error)
    if not is_whole:
        yield Finding(code=Code.DAMAGED_RESULT, path=name, evidence=evidence)


_STAGED_BYTES_MAX = 1 << 32
"""No batch that is staged comes near; reading what is larger would take for ever."""


def _digest(storage: Store, name: str) -> str:
    """Empty if it is gone, or is not what batten stages."""
    try:
        entry = storage.find(name)
        if entry is None or entry.size > _STAGED_BYTES_MAX:
            return ""
        return digest_file(storage, name)
    except (FileNotFoundError, StorageError):
        return ""
