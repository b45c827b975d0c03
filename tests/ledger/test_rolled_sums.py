"""What a roll-up says of its records together, as the format says it."""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from dataclasses import replace

import pytest

from batten.ledger.facts.batches.rolled_sums import (
    count_of_sum,
    digest_plan,
    digest_sizes,
    encode_rolled,
)
from batten.model.disk import rolled
from batten.model.disk.records import CommitRecord, encode_record
from batten.model.disk.rolled import RolledUp, decode_end, decode_rolled, find_end
from batten.model.rules.accounting import PlannedBatch

FIRST = CommitRecord(
    batch=2,
    items=5,
    rows=3,
    outcomes="2c1f1a1q",
    keys="ordinals:10-15",
    fingerprint="f",
    size=300,
    digest="a" * 64,
    quarantine_digest="b" * 64,
    run="r",
    time="t",
)
SECOND = replace(
    FIRST, batch=3, rows=4, outcomes="4c1r", keys="ordinals:15-20", digest="c" * 64, size=2**40
)


@pytest.fixture(autouse=True)
def _pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolled, "ROLLED_BATCHES", 2)


def sum_of(*records: CommitRecord) -> RolledUp:
    return decode_end(1, encode_rolled(1, [encode_record(record) for record in records]))


def test_it_says_what_the_format_says() -> None:
    body = encode_record(FIRST) + encode_record(SECOND)
    plan = b"5 ordinals:10-15\n5 ordinals:15-20\n"
    assert sum_of(FIRST, SECOND) == RolledUp(
        first_batch=2,
        batches=2,
        digest=hashlib.sha256(body).hexdigest(),
        sizes=hashlib.sha256(struct.pack("<2q", 300, 2**40)).hexdigest(),
        planned=hashlib.sha256(plan).hexdigest(),
        rows=7,
        committed=7,
        filtered=1,
        quarantined=1,
        removed=1,
        adopted=1,
        failed={"2": "a" * 64},
    )
    assert tuple(count_of_sum(sum_of(FIRST, SECOND))) == (7, 1, 1, 1, 1)


def test_plan_and_parts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    end = sum_of(FIRST, SECOND)
    planned = [
        PlannedBatch(2, 0, 2, 10, 5, "ordinals:10-15"),
        PlannedBatch(3, 0, 3, 15, 5, "ordinals:15-20"),
    ]
    assert digest_plan(planned) == end.planned
    assert digest_sizes(array("q", [300, 2**40])) == end.sizes
    # On another machine, whose numbers lie the other way.
    swapped = array("q", [300, 2**40])
    swapped.byteswap()
    monkeypatch.setattr(sys, "byteorder", "big")
    assert digest_sizes(swapped) == end.sizes
    assert swapped[0] != 300


@pytest.mark.parametrize(
    "odd", [{"outcomes": "5c1f"}, {"rows": 1}, {"rows": 3, "outcomes": "5f"}, {"items": 6}]
)
def test_of_one_that_does_not_fit_itself_there_is_no_sum(odd: dict[str, object]) -> None:
    end = sum_of(FIRST, replace(SECOND, **odd))  # type: ignore[arg-type]
    assert not end.is_summed
    assert (end.planned, end.rows, end.committed, end.failed) == ("", 0, 0, {})


def test_its_end_is_found_in_any_piece_that_has_it() -> None:
    data = encode_rolled(1, [encode_record(FIRST), encode_record(SECOND)])
    end = decode_end(1, data)
    start = find_end(data)
    for piece in (data[start:], data[start - 1 :], data[start - 200 :], data):
        assert decode_end(1, piece) == end
    assert find_end(data[start:]) == find_end(data[start + 1 :]) == 0
    assert find_end(b"") == find_end(b"\n") == 0
    assert len(decode_rolled(1, data)) == 2


def test_the_longest_end_is_within_its_bounds() -> None:
    failed = {str(batch): "a" * 64 for batch in range(9_999_000, 10_000_000)}
    most = 10**15
    end = RolledUp(
        first_batch=9_999_000,
        batches=1000,
        digest="a" * 64,
        sizes="a" * 64,
        planned="a" * 64,
        rows=most,
        committed=most,
        filtered=most,
        quarantined=most,
        removed=most,
        adopted=most,
        failed=failed,
    )
    assert len(encode_record(end)) < RolledUp.bytes_max
