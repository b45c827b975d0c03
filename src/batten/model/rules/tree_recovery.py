"""Recovery of a tree, as tables over what is found.

A transaction changes many files, and files change only one by one. So before the first of them
changes, one small file says what is to be done to all: the journal. It appears in one step, and
that step decides. A crash before it leaves a change that never happened: backups go back, and the
tree is as it was. A crash after it leaves a change that has happened: it is completed, never undone
(decision 0015).

Whoever takes the lock next reads the journal. The first table says what is done about it as a
whole. Then each operation is looked at alone, since a crash may have come between any two, or
within recovery itself. Two things are looked at: whether the staged file or backup is still there,
and what is at the path. The second table says from these what is left to do. What somebody else put
at the path meanwhile is set aside before it makes way. If what should be put there is lost, nothing
is done, and nobody gets the lock. Each step may be repeated, so a recovery that is killed is just
begun again.
"""

from __future__ import annotations

from enum import Enum


class JournalState(Enum):
    """What is found of the journal."""

    NONE = "none"
    OPEN = "of a change that was not committed"
    COMMITTED = "of a committed change"
    FINISHED = "of a change that is done: its token is there"
    UNREADABLE = "unreadable"
    NEWER = "of a newer batten"


class Remedy(Enum):
    """What recovery does about it."""

    NOTHING = "nothing"
    ROLL_BACK = "roll back"
    ROLL_FORWARD = "roll forward"
    FORGET = "forget"
    SET_ASIDE = "set aside"
    REFUSE = "refuse"


REMEDIES: dict[JournalState, Remedy] = {
    JournalState.NONE: Remedy.NOTHING,
    JournalState.OPEN: Remedy.ROLL_BACK,
    JournalState.COMMITTED: Remedy.ROLL_FORWARD,
    JournalState.FINISHED: Remedy.FORGET,
    JournalState.UNREADABLE: Remedy.SET_ASIDE,
    JournalState.NEWER: Remedy.REFUSE,
}


class FoundStaged(Enum):
    """What is found of the staged file or backup of an operation."""

    PRESENT = "present"
    ABSENT = "absent"
    NOT_NEEDED = "not needed"


class FoundAtPath(Enum):
    """What is found at the path of an operation."""

    ABSENT = "absent"
    BEFORE = "as before"
    AFTER = "as after"
    FOLDER = "a folder"
    OTHER = "changed by someone else"


class RollStep(Enum):
    """What is done. What someone else changed is kept as evidence before it makes way."""

    NOTHING = "nothing"
    PUT = "put"
    KEEP_AND_PUT = "set aside what is there, put"
    DELETE = "delete"
    KEEP = "set aside what is there"
    MAKE_FOLDER = "make the folder"
    KEEP_AND_MAKE_FOLDER = "set aside what is there, make the folder"
    REMOVE_FOLDER = "remove the folder, if it is empty"
    DISCARD = "delete what is not restored"
    FAIL = "fail: what should be put there is lost"


_PRESENT, _LOST, _NOT_NEEDED = FoundStaged.PRESENT, FoundStaged.ABSENT, FoundStaged.NOT_NEEDED

STEPS: dict[tuple[str, FoundStaged, FoundAtPath], RollStep] = {
    ("put", _PRESENT, FoundAtPath.ABSENT): RollStep.PUT,
    ("put", _PRESENT, FoundAtPath.BEFORE): RollStep.PUT,
    ("put", _PRESENT, FoundAtPath.AFTER): RollStep.PUT,
    ("put", _PRESENT, FoundAtPath.FOLDER): RollStep.KEEP_AND_PUT,
    ("put", _PRESENT, FoundAtPath.OTHER): RollStep.KEEP_AND_PUT,
    ("put", _LOST, FoundAtPath.ABSENT): RollStep.FAIL,
    ("put", _LOST, FoundAtPath.BEFORE): RollStep.FAIL,
    ("put", _LOST, FoundAtPath.AFTER): RollStep.NOTHING,
    ("put", _LOST, FoundAtPath.FOLDER): RollStep.FAIL,
    ("put", _LOST, FoundAtPath.OTHER): RollStep.FAIL,
    ("delete", _NOT_NEEDED, FoundAtPath.ABSENT): RollStep.NOTHING,
    ("delete", _NOT_NEEDED, FoundAtPath.BEFORE): RollStep.DELETE,
    ("delete", _NOT_NEEDED, FoundAtPath.FOLDER): RollStep.NOTHING,
    ("delete", _NOT_NEEDED, FoundAtPath.OTHER): RollStep.KEEP,
    ("make folder", _NOT_NEEDED, FoundAtPath.ABSENT): RollStep.MAKE_FOLDER,
    ("make folder", _NOT_NEEDED, FoundAtPath.FOLDER): RollStep.NOTHING,
    ("make folder", _NOT_NEEDED, FoundAtPath.OTHER): RollStep.KEEP_AND_MAKE_FOLDER,
    ("remove folder", _NOT_NEEDED, FoundAtPath.ABSENT): RollStep.NOTHING,
    ("remove folder", _NOT_NEEDED, FoundAtPath.FOLDER): RollStep.REMOVE_FOLDER,
    ("remove folder", _NOT_NEEDED, FoundAtPath.OTHER): RollStep.NOTHING,
    ("restore", _PRESENT, FoundAtPath.ABSENT): RollStep.PUT,
    ("restore", _PRESENT, FoundAtPath.FOLDER): RollStep.KEEP_AND_PUT,
    ("restore", _PRESENT, FoundAtPath.OTHER): RollStep.PUT,
    ("restore", _LOST, FoundAtPath.ABSENT): RollStep.FAIL,
    ("restore", _LOST, FoundAtPath.FOLDER): RollStep.FAIL,
    ("restore", _LOST, FoundAtPath.OTHER): RollStep.FAIL,
    ("discard", _NOT_NEEDED, FoundAtPath.ABSENT): RollStep.NOTHING,
    ("discard", _NOT_NEEDED, FoundAtPath.FOLDER): RollStep.DISCARD,
    ("discard", _NOT_NEEDED, FoundAtPath.OTHER): RollStep.DISCARD,
}


def decide_step(action: str, staged: FoundStaged, target: FoundAtPath) -> RollStep:
    """What to do; raises `LookupError` for what can't come about."""
    return STEPS[action, staged, target]
