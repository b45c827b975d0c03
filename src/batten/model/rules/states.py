"""Which state an output is in, as a table over what was seen of it.

What does one need to know of an output? Nobody keeps a record of its state: a record could be
wrong, or older than a crash. Instead a look collects seven facts. Whose is the place? Is it locked?
What is the worst damage? Is a change half done? Are the accounts closed? Is it made of something
that has changed since? Are there leftovers of dead runs? These facts name one state, and each state
has one safe action.

The order of the rows is the argument. First comes what must not be judged at all: an empty or
foreign place, and a place that a live run holds, since it changes while one looks. Then comes what
must not be touched: a newer format, and a change that was given up. Then comes damage, the worst
first; a half-done change stands between what can't be read and what does not add up, since it
explains the latter. Only an output of which none of this is true is a matter of work: closed
accounts are STALE, COMPLETE or COMPLETE_WITH_ORPHANS, open ones are INTERRUPTED.

The rows are read from the top; the first that fits names the state. A combination of facts that
no row lists can't come about, and raises.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from batten.model.value_class import value_class
from batten.model.words import Action, State


class Ground(Enum):
    """Whose the place is."""

    NOTHING = "no output, no control folder"
    FOREIGN = "something that is not batten's"
    NEWER = "of a newer batten"
    GIVEN_UP = "a tree of which a change was given up, that may be half done"  # decision 0029
    OURS = "batten's"


class Damage(Enum):
    """The worst that was found."""

    NONE = "none"
    INCONSISTENT = "does not add up"
    CORRUPT = "cannot be read, or a digest differs"


@value_class
class Facts:
    """What was seen of an output, as far as it decides the state.

    `is_locked`: a live process holds the lock. `has_journal`: a change of the output was begun and
    must be rolled forward or back. `is_complete`: the accounts are closed and recorded as such.
    `is_stale`: what it was made of is another now."""

    ground: Ground
    is_locked: bool
    damage: Damage
    has_journal: bool
    is_complete: bool
    has_orphans: bool
    is_stale: bool = False


@value_class
class Verdict:
    """The state, the one safe action in it, and the exit code of `diagnose`."""

    state: State
    action: Action
    exit_code: int


@value_class
class Row:
    """A row of the table: the facts it needs (those it does not name may be any), and the state."""

    needs: dict[str, Any]
    state: State


VERDICTS: dict[State, Verdict] = {
    verdict.state: verdict
    for verdict in (
        Verdict(state=State.NEW, action=Action.RUN, exit_code=10),
        Verdict(state=State.RUNNING, action=Action.LEAVE_ALONE, exit_code=0),
        Verdict(state=State.INTERRUPTED, action=Action.RUN, exit_code=10),
        Verdict(state=State.STALE, action=Action.RUN, exit_code=10),
        Verdict(state=State.COMPLETE, action=Action.NOTHING, exit_code=0),
        Verdict(state=State.COMPLETE_WITH_ORPHANS, action=Action.CLEAN, exit_code=11),
        Verdict(state=State.RECOVERY_PENDING, action=Action.RECOVER, exit_code=12),
        Verdict(state=State.INCONSISTENT, action=Action.STOP, exit_code=4),
        Verdict(state=State.CORRUPT, action=Action.STOP, exit_code=4),
        Verdict(state=State.UNKNOWN, action=Action.LOOK, exit_code=5),
    )
}

_BARE: dict[str, Any] = {
    "is_locked": False,
    "damage": Damage.NONE,
    "has_journal": False,
    "is_complete": False,
    "has_orphans": False,
    "is_stale": False,
}
"""Where nothing of ours is there, nothing of ours can have been seen."""

TABLE: tuple[Row, ...] = (
    Row(needs={"ground": Ground.NOTHING, **_BARE}, state=State.NEW),
    Row(needs={"ground": Ground.FOREIGN, **_BARE}, state=State.UNKNOWN),
    Row(needs={"ground": Ground.OURS, "is_locked": True}, state=State.RUNNING),
    Row(needs={"ground": Ground.NEWER}, state=State.UNKNOWN),
    Row(needs={"ground": Ground.GIVEN_UP}, state=State.UNKNOWN),
    Row(needs={"ground": Ground.OURS, "damage": Damage.CORRUPT}, state=State.CORRUPT),
    Row(needs={"ground": Ground.OURS, "has_journal": True}, state=State.RECOVERY_PENDING),
    Row(needs={"ground": Ground.OURS, "damage": Damage.INCONSISTENT}, state=State.INCONSISTENT),
    Row(needs={"ground": Ground.OURS, "is_complete": True, "is_stale": True}, state=State.STALE),
    Row(
        needs={"ground": Ground.OURS, "is_complete": True, "has_orphans": True},
        state=State.COMPLETE_WITH_ORPHANS,
    ),
    Row(needs={"ground": Ground.OURS, "is_complete": True}, state=State.COMPLETE),
    Row(needs={"ground": Ground.OURS, "is_complete": False}, state=State.INTERRUPTED),
)


def decide_state(facts: Facts) -> Verdict:
    """The verdict of the first row that fits; raises `LookupError` for what can't come about."""
    for row in TABLE:
        if all(getattr(facts, name) == value for name, value in row.needs.items()):
            return VERDICTS[row.state]
    raise LookupError(f"no row of the table of states fits {facts}")
