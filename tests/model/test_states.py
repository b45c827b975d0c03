"""Every combination of facts fits the row that was meant for it, or can't come about and raises."""

from __future__ import annotations

from itertools import product

import pytest

from batten.model.rules.resume import Decision, Found, ResumeMode, decide_resume
from batten.model.rules.states import TABLE, VERDICTS, Damage, Facts, Ground, decide_state
from batten.model.words import State

ALL = [
    Facts(
        ground=ground,
        is_locked=is_locked,
        damage=damage,
        has_journal=has_journal,
        is_complete=is_complete,
        has_orphans=has_orphans,
        is_stale=is_stale,
    )
    for ground, is_locked, damage, has_journal, is_complete, has_orphans, is_stale in product(
        Ground, (False, True), Damage, *([(False, True)] * 4)
    )
]


def expect(facts: Facts) -> State | None:
    """The same written the other way round: from the state that is wanted."""
    is_bare = facts == Facts(
        ground=facts.ground,
        is_locked=False,
        damage=Damage.NONE,
        has_journal=False,
        is_complete=False,
        has_orphans=False,
    )
    match facts.ground:
        case Ground.NOTHING:
            return State.NEW if is_bare else None
        case Ground.FOREIGN:
            return State.UNKNOWN if is_bare else None
        case Ground.NEWER | Ground.GIVEN_UP:
            return State.UNKNOWN
    if facts.is_locked:
        return State.RUNNING
    if facts.damage is Damage.CORRUPT:
        return State.CORRUPT
    if facts.has_journal:
        return State.RECOVERY_PENDING
    if facts.damage is Damage.INCONSISTENT:
        return State.INCONSISTENT
    if not facts.is_complete:
        return State.INTERRUPTED
    if facts.is_stale:
        return State.STALE
    return State.COMPLETE_WITH_ORPHANS if facts.has_orphans else State.COMPLETE


@pytest.mark.parametrize("facts", ALL, ids=str)
def test_each_combination_of_facts(facts: Facts) -> None:
    state = expect(facts)
    if state is None:
        with pytest.raises(LookupError):
            decide_state(facts)
    else:
        assert decide_state(facts) is VERDICTS[state]


def test_every_row_decides_something() -> None:
    first = {
        next(
            number
            for number, row in enumerate(TABLE)
            if all(getattr(facts, name) == value for name, value in row.needs.items())
        )
        for facts in ALL
        if expect(facts) is not None
    }
    assert first == set(range(len(TABLE)))


def test_the_exit_codes_and_actions_of_the_contract() -> None:
    assert {
        state.value: (verdict.action.value, verdict.exit_code)
        for state, verdict in VERDICTS.items()
    } == {
        "NEW": ("run", 10),
        "RUNNING": ("leave alone", 0),
        "INTERRUPTED": ("run", 10),
        "STALE": ("run", 10),
        "COMPLETE": ("nothing", 0),
        "COMPLETE_WITH_ORPHANS": ("clean", 11),
        "RECOVERY_PENDING": ("recover", 12),
        "INCONSISTENT": ("stop", 4),
        "CORRUPT": ("stop", 4),
        "UNKNOWN": ("look", 5),
    }
    assert set(VERDICTS) == set(State)


RESUME = """
    nothing     start           start           start
    unfinished  resume          resume          refuse: exists
    finished    check           check           refuse: exists
    grew        extend          extend          refuse: exists
    changed     refuse: changed refuse: changed refuse: exists
    damaged     refuse: damaged refuse: damaged refuse: damaged
"""


def test_the_table_of_resume_is_that_of_the_design() -> None:
    modes = (ResumeMode.IF_POSSIBLE, ResumeMode.ALWAYS, ResumeMode.NEVER)
    lines = [line for line in RESUME.splitlines() if line]
    assert len(lines) == len(Found)
    for line in lines:
        found = Found[line[4:16].strip().upper()]
        wanted = [line[start : start + 16].strip() for start in (16, 32, 48)]
        assert [decide_resume(found, mode) for mode in modes] == [Decision(w) for w in wanted]
