"""Recovery of a tree, as tables over what is found. A combination that no table lists raises."""

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


class Staged(Enum):
    """What is found of the staged file or backup of an operation."""

    PRESENT = "present"
    ABSENT = "absent"
    NOT_NEEDED = "not needed"


class Target(Enum):
    """What is found at the path of an operation."""

    ABSENT = "absent"
    BEFORE = "as before"
    AFTER = "as after"
    FOLDER = "a folder"
    OTHER = "changed by someone else"


class Step(Enum):
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


_PRESENT, _LOST, _NOT_NEEDED = Staged.PRESENT, Staged.ABSENT, Staged.NOT_NEEDED

STEPS: dict[tuple[str, Staged, Target], Step] = {
    ("put", _PRESENT, Target.ABSENT): Step.PUT,
    ("put", _PRESENT, Target.BEFORE): Step.PUT,
    ("put", _PRESENT, Target.AFTER): Step.PUT,
    ("put", _PRESENT, Target.FOLDER): Step.KEEP_AND_PUT,
    ("put", _PRESENT, Target.OTHER): Step.KEEP_AND_PUT,
    ("put", _LOST, Target.ABSENT): Step.FAIL,
    ("put", _LOST, Target.BEFORE): Step.FAIL,
    ("put", _LOST, Target.AFTER): Step.NOTHING,
    ("put", _LOST, Target.FOLDER): Step.FAIL,
    ("put", _LOST, Target.OTHER): Step.FAIL,
    ("delete", _NOT_NEEDED, Target.ABSENT): Step.NOTHING,
    ("delete", _NOT_NEEDED, Target.BEFORE): Step.DELETE,
    ("delete", _NOT_NEEDED, Target.FOLDER): Step.NOTHING,
    ("delete", _NOT_NEEDED, Target.OTHER): Step.KEEP,
    ("make folder", _NOT_NEEDED, Target.ABSENT): Step.MAKE_FOLDER,
    ("make folder", _NOT_NEEDED, Target.FOLDER): Step.NOTHING,
    ("make folder", _NOT_NEEDED, Target.OTHER): Step.KEEP_AND_MAKE_FOLDER,
    ("remove folder", _NOT_NEEDED, Target.ABSENT): Step.NOTHING,
    ("remove folder", _NOT_NEEDED, Target.FOLDER): Step.REMOVE_FOLDER,
    ("remove folder", _NOT_NEEDED, Target.OTHER): Step.NOTHING,
    ("restore", _PRESENT, Target.ABSENT): Step.PUT,
    ("restore", _PRESENT, Target.FOLDER): Step.KEEP_AND_PUT,
    ("restore", _PRESENT, Target.OTHER): Step.PUT,
    ("restore", _LOST, Target.ABSENT): Step.FAIL,
    ("restore", _LOST, Target.FOLDER): Step.FAIL,
    ("restore", _LOST, Target.OTHER): Step.FAIL,
    ("discard", _NOT_NEEDED, Target.ABSENT): Step.NOTHING,
    ("discard", _NOT_NEEDED, Target.FOLDER): Step.DISCARD,
    ("discard", _NOT_NEEDED, Target.OTHER): Step.DISCARD,
}


def decide_step(action: str, staged: Staged, target: Target) -> Step:
    """What to do; raises `LookupError` for what can't come about."""
    return STEPS[action, staged, target]
