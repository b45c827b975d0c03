"""The tables of a tree's recovery: every combination, and what none of them may do."""

from __future__ import annotations

from itertools import product

import pytest

from batten.model.journal import Action, Journal, Operation, Phase, describe_file
from batten.model.records import NewerFormat, Unreadable, decode_record, encode_record
from batten.model.rolling import (
    REMEDIES,
    STEPS,
    JournalState,
    Remedy,
    Staged,
    Step,
    Target,
    decide_step,
)

NEEDING_A_FILE = {Action.PUT, Action.RESTORE}
COMBINATIONS = set(product([action.value for action in Action], Staged, Target))


def can_come_about(action: str, staged: Staged, target: Target) -> bool:
    """By what operations hold: see `Operation`."""
    if (staged is Staged.NOT_NEEDED) == (action in NEEDING_A_FILE):
        return False
    if target is Target.BEFORE:
        return action in (Action.PUT, Action.DELETE)
    return target is not Target.AFTER or action == Action.PUT


def test_every_journal_has_a_remedy() -> None:
    assert REMEDIES.keys() == set(JournalState)
    assert set(REMEDIES.values()) == set(Remedy)


def test_the_table_lists_what_can_come_about_and_nothing_else() -> None:
    assert set(STEPS) == {each for each in COMBINATIONS if can_come_about(*each)}
    for each in COMBINATIONS - set(STEPS):
        with pytest.raises(LookupError):
            decide_step(*each)


@pytest.mark.parametrize(("action", "staged", "target"), sorted(STEPS, key=str))
def test_no_step_destroys_the_only_copy(action: str, staged: Staged, target: Target) -> None:
    step = decide_step(action, staged, target)
    if staged is Staged.ABSENT:
        # Without what should be put there, what is there is left alone.
        assert step in (Step.FAIL, Step.NOTHING)
    if target is Target.OTHER and action in (Action.PUT, Action.DELETE, Action.MAKE_FOLDER):
        assert step in (Step.KEEP, Step.KEEP_AND_PUT, Step.KEEP_AND_MAKE_FOLDER, Step.FAIL)
    if step is Step.DELETE:
        assert (action, target) == (Action.DELETE, Target.BEFORE)
    if step is Step.DISCARD:
        assert action == Action.DISCARD


@pytest.mark.parametrize("action", Action)
def test_what_is_done_stays_done(action: Action) -> None:
    """An operation that was carried out is found done, or is done again with the same end."""
    done = {
        Action.PUT: (Staged.PRESENT, Target.AFTER, Step.PUT),
        Action.RESTORE: (Staged.PRESENT, Target.OTHER, Step.PUT),
        Action.DELETE: (Staged.NOT_NEEDED, Target.ABSENT, Step.NOTHING),
        Action.REMOVE_FOLDER: (Staged.NOT_NEEDED, Target.ABSENT, Step.NOTHING),
        Action.MAKE_FOLDER: (Staged.NOT_NEEDED, Target.FOLDER, Step.NOTHING),
        Action.DISCARD: (Staged.NOT_NEEDED, Target.ABSENT, Step.NOTHING),
    }
    staged, target, step = done[action]
    assert decide_step(action, staged, target) is step


JOURNAL = Journal(
    phase=Phase.COMMITTED.value,
    change="0123",
    token="batch 7",
    operations=[
        Operation(action=Action.DELETE.value, path="a", before=describe_file("file", 3, 4)),
        Operation(action=Action.PUT.value, path="caf\udce9", staged=1, after="link 1 2"),
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
