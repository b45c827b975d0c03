"""Accounts close by key, not by count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from batten.model.disk import published
from batten.model.disk.items.key_digests import describe_keys
from batten.model.disk.names import Layout
from batten.model.disk.published import Published, decode_published, published_by_record
from batten.model.disk.records import (
    CommitRecord,
    Completion,
    NewerFormat,
    Segment,
    Unreadable,
    decode_record,
    encode_record,
    open_record,
    seal_record,
)
from batten.model.rules.accounting import (
    Accounts,
    PlannedBatches,
    close_accounts,
    find_disagreement,
    find_mismatch,
    find_plan_gap,
)
from batten.model.rules.findings import MEANINGS, Code, Finding, Severity, find_worst

LAYOUT = Layout("features")


def segment(number: int, first_batch: int, first_ordinal: int, items: int, **other) -> Segment:  # type: ignore[no-untyped-def]
    fixed = {
        "number": number,
        "first_batch": first_batch,
        "first_ordinal": first_ordinal,
        "items": items,
        "batch_size": 4,
        "is_keyed": False,
        "duplicates": 0,
        "duplicate_examples": [],
        "is_limited": False,
        "keys": [],
        "keys_size": 0,
        "keys_digest": "",
    }
    return Segment(**{**fixed, **other})


def record(batch: int, items: int, outcomes: str, rows: int, keys: str) -> CommitRecord:
    return CommitRecord(
        batch=batch,
        items=items,
        rows=rows,
        outcomes=outcomes,
        keys=keys,
        fingerprint="f",
        size=1,
        digest="d" * 64,
        quarantine_digest="",
        run="r",
        time="t",
    )


PLAN = [segment(0, 0, 0, 6), segment(1, 2, 6, 3, duplicates=2)]
RECORDS = [
    record(0, 4, "3c1f", 5, "ordinals:0-4"),
    record(1, 2, "1q1c", 1, "ordinals:4-6"),
    record(2, 3, "3c", 3, "ordinals:6-9"),
]


def test_a_plan_of_two_segments_lists_its_batches() -> None:
    plan = PlannedBatches(tuple(PLAN))
    assert [(each.batch, each.items, each.keys) for each in plan] == [
        (0, 4, "ordinals:0-4"),
        (1, 2, "ordinals:4-6"),
        (2, 3, "ordinals:6-9"),
    ]
    assert (plan.batches, plan.items) == (3, 9)
    assert [plan.find(batch) for batch in range(3)] == list(plan)
    assert (plan.find(3), plan.find(-1)) == (None, None)


def test_accounts_close() -> None:
    assert close_accounts(LAYOUT, PLAN, RECORDS) == Accounts(
        source=11, committed=7, filtered=1, quarantined=1, duplicate=2, staged=0, pending=0
    )


def test_an_empty_plan_closes() -> None:
    accounts = close_accounts(LAYOUT, [segment(0, 0, 0, 0)], [])
    assert isinstance(accounts, Accounts)
    assert accounts.source == 0


def test_the_right_number_of_the_wrong_keys_does_not_close() -> None:
    """What hid the loss at the origin: counts that happened to agree."""
    keyed = [segment(0, 0, 0, 2, is_keyed=True, keys=[describe_keys(["a", "b"])])]
    right = record(0, 2, "2c", 2, describe_keys(["a", "b"]))
    assert isinstance(close_accounts(LAYOUT, keyed, [right]), Accounts)
    for wrong in (["a", "c"], ["b", "a"], ["ab", ""]):
        findings = close_accounts(LAYOUT, keyed, [replace(right, keys=describe_keys(wrong))])
        assert isinstance(findings, list)
        assert [(each.code, each.batch) for each in findings] == [(Code.ACCOUNTS_DIFFER, 0)]


def test_what_is_missing_and_what_is_too_much_are_named() -> None:
    findings = close_accounts(LAYOUT, PLAN, [RECORDS[0], RECORDS[2], replace(RECORDS[1], batch=7)])
    assert isinstance(findings, list)
    assert [(each.code, each.path) for each in findings] == [
        (Code.LOST_PART, "features/part-000001.parquet"),
        (Code.BEYOND_PLAN, "features/part-000007.parquet"),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"items": 3},
        {"outcomes": "4c1f"},
        {"outcomes": "3c"},
        {"outcomes": "3c1x"},
        {"outcomes": ""},
        {"rows": 2},
        {"outcomes": "4f"},
        {"keys": "ordinals:4-8"},
        {"batch": 1},
    ],
)
def test_a_record_that_does_not_add_up(changes: dict[str, object]) -> None:
    planned = PlannedBatches(tuple(PLAN)).find(0)
    assert planned is not None
    assert find_mismatch(planned, RECORDS[0]) is None
    assert find_mismatch(planned, replace(RECORDS[0], **changes)) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "second",
    [
        segment(2, 2, 6, 3),
        segment(1, 1, 6, 3),
        segment(1, 2, 5, 3),
        segment(1, 2, 6, -1),
        segment(1, 2, 6, 3, batch_size=0),
        segment(1, 2, 6, 3, is_keyed=True, keys=[]),
    ],
)
def test_a_plan_with_a_gap(second: Segment) -> None:
    assert find_plan_gap(LAYOUT, PLAN) is None
    gap = find_plan_gap(LAYOUT, [PLAN[0], second])
    assert gap is not None
    assert gap.path == "features.batten/plan/000001.json"
    assert close_accounts(LAYOUT, [PLAN[0], second], RECORDS) == [gap]


def test_duplicates_never_become_fewer() -> None:
    assert find_plan_gap(LAYOUT, [segment(0, 0, 0, 6, duplicates=3), PLAN[1]]) is not None


def test_complete_is_held_against_the_accounts() -> None:
    accounts = close_accounts(LAYOUT, PLAN, RECORDS)
    assert isinstance(accounts, Accounts)
    completion = Completion(
        source=11,
        committed=7,
        filtered=1,
        quarantined=1,
        duplicate=2,
        rows=9,
        segments=2,
        part_sizes=[1, 1, 1],
        run="r",
        time="t",
    )
    assert find_disagreement(completion, accounts, 2) is None
    assert find_disagreement(completion, accounts, 3) is not None
    for name in ("source", "committed", "filtered", "quarantined", "duplicate"):
        told = find_disagreement(replace(completion, **{name: 5}), accounts, 2)  # type: ignore[arg-type]
        assert told is not None
        assert name in told


def test_the_quick_way_to_decode_a_record_gives_the_same() -> None:
    for each in RECORDS:
        assert published._CANONICAL.fullmatch(open_record(encode_record(each)).decode())
        assert decode_published(encode_record(each)) == published_by_record(each)
    spaced = seal_record(encode_record(RECORDS[0]).partition(b', "checksum"')[0] + b" }")
    assert decode_published(spaced) == published_by_record(RECORDS[0])


def test_any_flipped_bit_is_seen() -> None:
    data = encode_record(RECORDS[0])
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises(Unreadable):
                decode_record(CommitRecord, bytes(flipped))


def test_the_quick_way_to_decode_refuses_the_same() -> None:
    data = encode_record(RECORDS[0])
    for wrong in (b"", data[:-5], b"[]", data.replace(b'"rows": 5', b'"rows": "5"'), data + data):
        with pytest.raises(Unreadable):
            decode_published(wrong)
    with pytest.raises(NewerFormat):
        decode_published(data.replace(b'"format_version": 1', b'"format_version": 3'))
    assert isinstance(decode_published(data), Published)


def test_each_code_has_a_meaning_and_the_worst_is_found() -> None:
    assert set(MEANINGS) == set(Code)
    foreign = Finding(code=Code.FOREIGN_FILE, path="x", evidence="")
    lost = Finding(code=Code.LOST_PART, path="x", evidence="")
    assert find_worst([]) is Severity.NOTE
    assert find_worst([foreign, lost, foreign]) is Severity.INCONSISTENT
