"""Every field of every record has bounds, and what lies out of them is damage."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest

import batten
from batten.cache.clearing.budget import Sum
from batten.cache.clearing.counts import Total
from batten.model.cached.manifests import Listing, Manifest
from batten.model.disk import records
from batten.model.disk.bounds import MEBIBYTE, RECORD_BYTES_MAX
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.published import decode_published
from batten.model.disk.records import (
    CommitRecord,
    Completion,
    Config,
    Fingerprint,
    Generations,
    PartDescription,
    PinnedSchema,
    Replacing,
    Segment,
    Unreadable,
    Unsynced,
    decode_record,
    encode_record,
    open_record,
    seal_record,
)
from batten.model.disk.rolled import RolledUp
from batten.model.disk.runs.holders import Holder, Lease
from batten.model.disk.trees.journal import Journal, Operation

DIGEST = "0123456789abcdef" * 4
KEYS = f"sha256:{DIGEST}"

RECORDS = [
    Config(
        fingerprint=Fingerprint(digest=KEYS, parts={"function f": KEYS}, places={}),
        batch_size=7,
        key_column="key",
        source="items",
        sink="parquet",
        parameters={"day": "1"},
        next="batten run job.py",
        created="2026-11-29T17:10:46Z",
        earlier_fingerprints=[KEYS],
    ),
    Segment(
        number=0,
        first_batch=0,
        first_ordinal=0,
        items=3,
        batch_size=2,
        is_keyed=True,
        duplicates=0,
        duplicate_examples=["a"],
        is_limited=False,
        keys=[KEYS, KEYS],
        keys_size=9,
        keys_digest=DIGEST,
    ),
    PartDescription(batch=0, items=1, rows=1, outcomes="1c", keys="ordinals:0-1", fingerprint=KEYS),
    PinnedSchema(ipc="", fields=["a: int64"]),
    Unsynced(names=["out/part-000000.parquet"]),
    CommitRecord(
        batch=0,
        items=1,
        rows=1,
        outcomes="1c",
        keys="ordinals:0-1",
        fingerprint=KEYS,
        size=5,
        digest=DIGEST,
        quarantine_digest="",
        run="r",
        time="t",
    ),
    Completion(
        source=1,
        committed=1,
        filtered=0,
        quarantined=0,
        duplicate=0,
        rows=1,
        segments=1,
        part_sizes=[5],
        run="r",
        time="t",
    ),
    Delivery(
        kind="csv",
        target="o.csv",
        batches=1,
        rows=1,
        content=KEYS,
        size=5,
        digest=DIGEST,
        replaces="",
        run="r",
        time="t",
    ),
    Replacing(entries=["COMPLETE"], run="r", time="t"),
    Holder(pid=1, host="h", since="s", boot="b"),
    Lease(epoch=1, nonce="n", is_held=True, holder=Holder(pid=1, host="h", since="s", boot="b")),
    RolledUp(
        first_batch=1000,
        batches=1000,
        digest="d" * 64,
        sizes=DIGEST,
        planned=DIGEST,
        rows=7,
        committed=6,
        quarantined=2,
        failed={"1000": DIGEST, "1999": DIGEST},
    ),
    Generations(current="first", next="2026-ab", is_swept=True, nonce="n"),
    Journal(
        phase="committed",
        change="c",
        token="",
        operations=[Operation(action="put", path="a/b", staged=0, before="", after="file 1 2")],
        time="t",
    ),
    Manifest(size=4096, is_value=False, top_names=1, boot="b", body_size=1, body_digest=DIGEST),
    Listing(names=["a"], sizes=[1], digests=[DIGEST], folders=["b"]),
    Sum(size=1, boot="b"),
    Total(counts={"hits": 1}, merged=["counts.h-1-a"]),
]
KINDS = [Fingerprint, Operation, *map(type, RECORDS)]


def of_kind(kind: type[Any]) -> Any:
    return next(record for record in RECORDS if type(record) is kind)


def altered(record: Any, **changes: object) -> bytes:
    """The record as it would be written with other fields, its checksum renewed."""
    body = json.loads(encode_record(record))
    del body["checksum"]
    return seal_record(json.dumps({**body, **changes}).encode())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_says_what_it_may_hold(kind: type[Any]) -> None:
    """But for those whose type says all: a truth value, a record in a record."""
    hints = get_type_hints(kind, include_extras=True)
    assert [name for name, hint in hints.items() if _is_open(hint)] == []


def _is_open(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        within = get_args(get_args(hint)[0])
        return bool(within) and _is_open(within[-1])
    return hint in (int, str) or get_origin(hint) in (list, dict)


def test_every_record_of_a_dataset_is_tried_here() -> None:
    assert {each for each in vars(records).values() if hasattr(each, "format_version")} <= {*KINDS}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_read_as_it_was_written(record: Any) -> None:
    assert decode_record(type(record), encode_record(record)) == record


ODD: list[Any] = [None, -1, -2, 2**40, 2**70, 1.5, "x" * (1 << 21), [], {}, [[]], ["x" * (1 << 21)]]
ODD += [[-1], [2**70], {"a": 1}, {"a": "x" * (1 << 21)}, True, "\ud800" * 5000, "a/../b", "/a"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_odd_content_is_damage_or_within_bounds(record: Any) -> None:
    """Whatever a field is changed to: it is refused, or the record is usable."""
    for name in vars(record):
        for odd in ODD:
            try:
                decoded = decode_record(type(record), altered(record, **{name: odd}))
            except Unreadable:
                continue
            for value in vars(decoded).values():
                assert not isinstance(value, int) or -(2**62) <= value <= 2**62
                assert not isinstance(value, str) or len(value) <= 1 << 24
            assert getattr(decoded, "batches", 0) <= 10**7


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (Segment, {"batch_size": 0}),
        (Segment, {"batch_size": 1, "items": 10**15}),
        (Segment, {"keys_digest": ""}),
        (Segment, {"keys_digest": "zz"}),
        (Segment, {"keys": ["sha256:0"]}),
        (Holder, {"pid": 2**40}),
        (Holder, {"pid": -1}),
        (Journal, {"token": "\udce9"}),
        (Delivery, {"dataset": "\ud800"}),
        (Delivery, {"target": "a\ud800"}),
        (Config, {"target": "\udfff"}),
        (Replacing, {"run": "\ud800"}),
        (Unsynced, {"names": ["out/\udc7f"]}),
        (Journal, {"change": "\udd00"}),
        (Journal, {"protected": ["a/\ud800"]}),
        (Listing, {"names": ["\ud800"], "sizes": [1], "digests": [DIGEST]}),
        (Replacing, {"entries": ["lock"]}),
        (Replacing, {"entries": ["../.."]}),
        (Replacing, {"run": "../x"}),
        (Journal, {"phase": "begun"}),
        (Journal, {"change": "../c"}),
        (Listing, {"names": ["../a"]}),
        (Listing, {"sizes": []}),
        (CommitRecord, {"outcomes": "9" * 5000 + "c"}),
        (CommitRecord, {"digest": "d"}),
        (Completion, {"part_sizes": [-5]}),
        (Total, {"counts": {"hits": 2**80}}),
        (RolledUp, {"sizes": ""}),
        (RolledUp, {"planned": ""}),
        (RolledUp, {"quarantined": 1}),
        (RolledUp, {"failed": {"2000": DIGEST}}),
        (RolledUp, {"failed": {"999": DIGEST}}),
        (RolledUp, {"failed": {"01000": DIGEST}}),
        (RolledUp, {"failed": {"1,000": DIGEST}}),
        (RolledUp, {"failed": {"\u0661\u0660\u0660\u0660": DIGEST}}),
        (RolledUp, {"failed": {"9" * 5000: DIGEST}}),
        (RolledUp, {"failed": {"1000": ""}}),
    ],
)
def test_what_no_batten_wrote_is_refused(kind: type[Any], changes: dict[str, Any]) -> None:
    data = altered(of_kind(kind), **changes)
    with pytest.raises(Unreadable):
        decode_record(kind, data)
    if kind is CommitRecord:
        with pytest.raises(Unreadable):
            decode_published(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"staged": -2},
        {"staged": -1},
        {"staged": 2**40},
        {"action": "burn"},
        {"action": "delete", "staged": -1},
        {"action": "make folder", "staged": -1, "after": "file 1 2"},
        {"path": "../a"},
        {"path": "a/./b"},
        {"path": "/etc/passwd"},
        {"path": "a/"},
        {"path": "a\0"},
        {"path": ".."},
        {"path": "\ud800"},
    ],
)
def test_an_operation_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    plain = {"action": "put", "path": "a/b", "staged": 0, "before": "", "after": "file 1 2"}
    with pytest.raises(Unreadable):
        decode_record(Journal, altered(of_kind(Journal), operations=[{**plain, **changes}]))


@pytest.mark.parametrize(
    "path", ["a", "a/b", "...", "a/..b", ".a", "caf\udce9", "a\nb", "-", "\udc80\udcff"]
)
def test_paths_within_are_taken(path: str) -> None:
    plain = {"action": "put", "path": path, "staged": 0, "before": "", "after": "file 1 2"}
    data = altered(of_kind(Journal), operations=[plain])
    assert decode_record(Journal, data).operations[0].path == path


def test_a_field_that_an_earlier_batten_did_not_write_has_its_default() -> None:
    body = json.loads(encode_record(of_kind(Holder)))
    del body["checksum"], body["pid_namespace"]
    assert decode_record(Holder, seal_record(json.dumps(body).encode())).pid_namespace == ""


def padded(record: Any, size: int) -> bytes:
    """The same record with so many bytes: spaces within make no difference."""
    whole = encode_record(record)
    body = altered(record)
    spaces = b" " * (size - len(body))
    data = seal_record(open_record(body).replace(b"{", b"{" + spaces, 1))
    assert len(data) == size >= len(whole)
    return data


BOUNDED = [each for each in RECORDS if hasattr(each, "bytes_max")]


@pytest.mark.parametrize("record", BOUNDED, ids=lambda record: type(record).__name__)
def test_a_record_that_is_larger_than_any_of_its_kind(record: Any) -> None:
    kind, most = type(record), record.bytes_max
    if most <= 16 * MEBIBYTE:
        assert decode_record(kind, padded(record, most)) == record
        large = padded(record, most + 1)
    else:
        large = bytes(most + 1)  # Memory that nobody touches.
    decoders = [partial(decode_record, kind)]
    if kind is CommitRecord:
        decoders.append(decode_published)
    for decode in decoders:
        with pytest.raises(Unreadable, match=f"{most + 1:,} bytes, more than any file of its kind"):
            decode(large)


def test_each_bound_of_a_kind_is_kept_somewhere() -> None:
    source = Path(batten.__file__).parent
    text = "".join(path.read_text() for path in source.rglob("*.py"))
    used = re.findall(r'RECORD_BYTES_MAX\[\s*"([^"]+)"\s*\]', text)
    assert set(RECORD_BYTES_MAX) == set(used)
