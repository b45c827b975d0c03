"""What a run does with what it finds, as a table.

A run looks before it does anything, and what it finds is one of six things. Either there is
nothing. Or there is a dataset of this job, which is unfinished, finished, or finished for a source
that has grown since. Or there is a dataset of another job: its fingerprint differs. Or something is
damaged. A run goes on only where nothing can be mixed. So work of the same job is taken up, another
job is refused, and damage is refused in every mode. The user can only ask for less: "never" refuses
whatever is there.
"""

from __future__ import annotations

from enum import Enum


class Found(Enum):
    """What lies at the output when a run starts."""

    NOTHING = "nothing"
    UNFINISHED = "same fingerprint, unfinished"
    FINISHED = "same fingerprint, finished, same source"
    GREW = "same fingerprint, source grew"
    CHANGED = "other fingerprint"
    DAMAGED = "damaged or unreadable"


class ResumeMode(Enum):
    """The user's wish, `--resume`."""

    IF_POSSIBLE = "if_possible"
    ALWAYS = "always"
    NEVER = "never"


class Decision(Enum):
    """What the run then does. `CHECK` checks the accounts and does nothing."""

    START = "start"
    RESUME = "resume"
    EXTEND = "extend"
    CHECK = "check"
    REFUSE_EXISTS = "refuse: exists"
    REFUSE_CHANGED = "refuse: changed"
    REFUSE_DAMAGED = "refuse: damaged"


_IF_POSSIBLE: dict[Found, Decision] = {
    Found.NOTHING: Decision.START,
    Found.UNFINISHED: Decision.RESUME,
    Found.FINISHED: Decision.CHECK,
    Found.GREW: Decision.EXTEND,
    Found.CHANGED: Decision.REFUSE_CHANGED,
    Found.DAMAGED: Decision.REFUSE_DAMAGED,
}

_NEVER: dict[Found, Decision] = {
    Found.NOTHING: Decision.START,
    Found.UNFINISHED: Decision.REFUSE_EXISTS,
    Found.FINISHED: Decision.REFUSE_EXISTS,
    Found.GREW: Decision.REFUSE_EXISTS,
    Found.CHANGED: Decision.REFUSE_EXISTS,
    Found.DAMAGED: Decision.REFUSE_DAMAGED,
}

TABLE: dict[ResumeMode, dict[Found, Decision]] = {
    ResumeMode.IF_POSSIBLE: _IF_POSSIBLE,
    ResumeMode.ALWAYS: _IF_POSSIBLE,
    ResumeMode.NEVER: _NEVER,
}


def decide_resume(found: Found, mode: ResumeMode) -> Decision:
    """The decision for what was found, in this mode."""
    return TABLE[mode][found]
