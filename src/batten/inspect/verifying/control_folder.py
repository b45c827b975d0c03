"""Reads of the control folder what an observation does not: schema, keys, staged files, logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

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
from batten.storage.base import Entry, Store
from batten.storage.digests import digest_file
from batten.storage.failures import is_of_wrong_kind


class _FileLook(NamedTuple):
    """What is wrong with a file, in words of evidence, or nothing; and the code of such a fault."""

    name: str
    code: Code
    find_fault: Callable[[], str]


def find_control_faults(
    storage: Store, observation: Observation, *, is_quick: bool
) -> Iterator[Finding]:
    """Findings about the schema, and unless quick, about keys, staged files and run logs."""
    layout = observation.layout
    looks = [_look_at_schema(storage, layout)] if storage.find(layout.schema) is not None else []
    if not is_quick:
        for segment in observation.segments:
            looks += _look_at_segment(storage, layout, segment)
        looks.append(_look_at_upstream(storage, layout))
        if observation.completion is not None:
            looks.append(_look_at_result(storage, observation))
        looks += _look_at_staged(storage, observation)
        looks += [_look_at_log(storage, layout, run) for run in list_runs(storage, layout)]
    for look in looks:
        yield from _find_fault(look)


def _find_fault(look: _FileLook) -> Iterator[Finding]:
    """A file that is gone has none: the observation has told of it, or it can be made again."""
    code = look.code
    try:
        evidence = look.find_fault()
    except FileNotFoundError:
        return
    except (Unreadable, StorageError) as error:
        evidence = name_reason(error)
        if isinstance(error, NewerFormat):
            code = Code.NEWER_FORMAT
    if evidence:
        yield Finding(code=code, path=look.name, evidence=evidence)


def _look_at_schema(storage: Store, layout: Layout) -> _FileLook:
    def find_fault() -> str:
        load_schema(storage, layout.schema)
        return ""

    return _FileLook(layout.schema, Code.UNREADABLE_SCHEMA, find_fault)


def _look_at_segment(storage: Store, layout: Layout, segment: Segment) -> Iterator[_FileLook]:
    number, of = segment.number, segment.keys_digest
    looks: dict[str, Callable[[Store, str, Segment], str]] = {
        layout.segment_keys(number, of): partial(_find_keys_fault, record=layout.segment(number)),
        layout.segment_digests(number): _find_digests_fault,
        layout.segment_versions(number, of): _find_versions_fault,
        layout.segment_values(number, of): _find_values_fault,
    }
    for name, find_fault in looks.items():
        yield _FileLook(name, Code.UNREADABLE_PLAN, partial(find_fault, storage, name, segment))


def _find_keys_fault(storage: Store, name: str, segment: Segment, *, record: str) -> str:
    """Either the keys file or the record that describes it is damaged. Nobody can tell which, so
    both are named."""
    if not segment.keys_size:
        return ""
    try:
        data = storage.read(name, bytes_max=segment.keys_size)
    except StorageError as error:
        if is_of_wrong_kind(error):
            return ""  # the observation has told of it
        raise
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
    return ""


def _find_digests_fault(storage: Store, name: str, segment: Segment) -> str:
    digests = open_digests(storage.read(name))
    if digests is None:
        return "its own digest does not fit: it was damaged"
    if len(digests) != DIGEST_BYTES * segment.items:
        size = count_of(len(digests), "byte")
        return f"it has {size} of digests for {count_of(segment.items, 'item')}"
    return ""


_UNFIT = "it is damaged: its digest does not fit"


def _find_versions_fault(storage: Store, name: str, segment: Segment) -> str:
    data = storage.read(name, bytes_max=bound_versions(segment.items))
    return _UNFIT if decode_versions(data, segment.items) is None else ""


def _find_values_fault(storage: Store, name: str, segment: Segment) -> str:
    data = storage.read(name, bytes_max=VALUES_BYTES_MAX)
    return _UNFIT if decode_values(data) is None else ""


def _look_at_upstream(storage: Store, layout: Layout) -> _FileLook:
    def find_fault() -> str:
        data = storage.read(layout.upstream, bytes_max=RECORD_BYTES_MAX["upstream"])
        decode_record(LookedUpstream, data)
        return ""

    return _FileLook(layout.upstream, Code.UNREADABLE_LOOK, find_fault)


def _look_at_result(storage: Store, observation: Observation) -> _FileLook:
    """It is what all destinations have (decision 0153)."""
    name, given = observation.layout.result, {each.content for each in observation.deliveries}

    def find_fault() -> str:
        is_given = f"sha256:{digest_file(storage, name)}" in given
        return "" if is_given else "its digest is not that of what destinations were given"

    return _FileLook(name, Code.DAMAGED_RESULT, find_fault)


_STAGED_BYTES_MAX = 1 << 32
"""No batch that is staged comes near; reading what is larger would take for ever."""


def _look_at_staged(storage: Store, observation: Observation) -> Iterator[_FileLook]:
    def find_fault(entry: Entry, digest: str) -> str:
        is_whole = entry.size <= _STAGED_BYTES_MAX and digest_file(storage, entry.name).startswith(
            digest
        )
        return "" if is_whole else "its digest is not that of its name"

    for entry in observation.staged:
        if staged := find_staged(entry.name.rpartition("/")[2]):
            look = partial(find_fault, entry, staged.digest)
            yield _FileLook(entry.name, Code.STAGED_DAMAGED, look)


def _look_at_log(storage: Store, layout: Layout, run: str) -> _FileLook:
    def find_fault() -> str:
        damaged = read_run(storage, layout, run).damaged_lines
        return f"{damaged} of its lines can't be read, or are missing" if damaged else ""

    return _FileLook(layout.run_log(run), Code.DAMAGED_LOG, find_fault)
