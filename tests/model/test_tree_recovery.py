"""The tables of a tree's recovery: every combination, and what none of them may do."""

from __future__ import annotations

from itertools import product

import pytest

from batten.model.disk.records import NewerFormat, Unreadable, decode_record, encode_record
from batten.model.disk.trees.journal import Journal, Operation, OperationKind, Phase, describe_file
from batten.model.rules.tree_recovery import (
    REMEDIES,
    STEPS,
    FoundAtPath,
    FoundStaged,
    JournalState,
    Remedy,
    RollStep,
    decide_step,
)

NEEDING_A_FILE = {OperationKind.PUT, OperationKind.RESTORE}
COMBINATIONS = set(product([action.value for action in OperationKind], FoundStaged, FoundAtPath))


def can_come_about(action: str, staged: FoundStaged, target: FoundAtPath) -> bool:
    """By what operations hold: see `Operation`."""
    if (staged is FoundStaged.NOT_NEEDED) == (action in NEEDING_A_FILE):
        return False
    if target is FoundAtPath.BEFORE:
        return action in (OperationKind.PUT, OperationKind.DELETE)
    return target is not FoundAtPath.AFTER or action == OperationKind.PUT


def test_every_journal_has_a_remedy() -> None:
    assert REMEDIES.keys() == set(JournalState)
    assert set(REMEDIES.values()) == set(Remedy)


def test_the_table_lists_what_can_come_about_and_nothing_else() -> None:
    assert set(STEPS) == {each for each in COMBINATIONS if can_come_about(*each)}
    for each in COMBINATIONS - set(STEPS):
        with pytest.raises(LookupError):
            decide_step(*each)


@pytest.mark.parametrize(("action", "staged", "target"), sorted(STEPS, key=str))
def test_no_step_destroys_the_only_copy(
    action: str, staged: FoundStaged, target: FoundAtPath
) -> None:
    step = decide_step(action, staged, target)
    if staged is FoundStaged.ABSENT:
        # Without what should be put there, what is there is left alone.
        assert step in (RollStep.FAIL, RollStep.NOTHING)
    if target is FoundAtPath.OTHER and action in (
        OperationKind.PUT,
        OperationKind.DELETE,
        OperationKind.MAKE_FOLDER,
    ):
        assert step in (
            RollStep.KEEP,
            RollStep.KEEP_AND_PUT,
            RollStep.KEEP_AND_MAKE_FOLDER,
            RollStep.FAIL,
        )
    if step is RollStep.DELETE:
        assert (action, target) == (OperationKind.DELETE, FoundAtPath.BEFORE)
    if step is RollStep.DISCARD:
        assert action == OperationKind.DISCARD


@pytest.mark.parametrize("action", OperationKind)
def test_what_is_done_stays_done(action: OperationKind) -> None:
    """An operation that was carried out is found done, or is done again with the same end."""
    done = {
        OperationKind.PUT: (FoundStaged.PRESENT, FoundAtPath.AFTER, RollStep.PUT),
        OperationKind.RESTORE: (FoundStaged.PRESENT, FoundAtPath.OTHER, RollStep.PUT),
        OperationKind.DELETE: (FoundStaged.NOT_NEEDED, FoundAtPath.ABSENT, RollStep.NOTHING),
        OperationKind.REMOVE_FOLDER: (FoundStaged.NOT_NEEDED, FoundAtPath.ABSENT, RollStep.NOTHING),
        OperationKind.MAKE_FOLDER: (FoundStaged.NOT_NEEDED, FoundAtPath.FOLDER, RollStep.NOTHING),
        OperationKind.DISCARD: (FoundStaged.NOT_NEEDED, FoundAtPath.ABSENT, RollStep.NOTHING),
    }
    staged, target, step = done[action]
    assert decide_step(action, staged, target) is step


JOURNAL = Journal(
    phase=Phase.COMMITTED.value,
    change="0123",
    token="batch 7",
    operations=[
        Operation(action=OperationKind.DELETE.value, path="a", before=describe_file("file", 3, 4)),
        Operation(action=OperationKind.PUT.value, path="caf\udce9", staged=1, after="link 1 2"),
    ],
    time="2026-11-21T12:00:00Z",
)


def test_a_journal_is_read_as_it_was_written() -> None:
    assert decode_record(Journal, encode_record(JOURNAL)) == JOURNAL


def test_a_damaged_journal_is_never_read() -> None:
    data = encode_record(JOURNAL)
    for position in range(len(data) - 1):
        damaged = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(Unreadable):
            decode_record(Journal, damaged)
        with pytest.raises(Unreadable):
            decode_record(Journal, data[:position])
    with pytest.raises(NewerFormat):
        decode_record(Journal, b'{"format_version": 99, "operations": "of another kind"}')
