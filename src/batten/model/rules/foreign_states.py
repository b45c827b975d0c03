"""Which state a layout is in that is not batten's.

Such a layout has one final file for each run's key, and staging files beside it. A table decides,
as for outputs of batten; it has fewer facts to go by.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from batten.model.rules.states import VERDICTS, Verdict
from batten.model.value_class import value_class
from batten.model.words import State


class Final(Enum):
    """What is at the path of the final file."""

    ABSENT = "nothing"
    THERE = "a file"
    OLD = "a file older than --fresh-for: of an earlier run"
    FUTURE = "a file whose time is in the future, where --fresh-for needs it"
    ODD = "no regular file, or an empty one, or it can't be looked at"


@value_class
class ForeignFacts:
    """`has_writer`: a live process has a file of the run open for writing."""

    final: Final
    has_writer: bool
    has_staging: bool


@value_class
class ForeignVerdict:
    """`called` is the short name of the state among people on call."""

    verdict: Verdict
    called: str


@value_class
class ForeignRow:
    """A row of the table: the facts that it needs (those that it does not name may be any)."""

    needs: dict[str, Any]
    state: State
    called: str


FOREIGN_TABLE: tuple[ForeignRow, ...] = tuple(
    ForeignRow(needs=needs, state=state, called=called)
    for needs, state, called in (
        ({"has_writer": True}, State.RUNNING, "running"),
        ({"final": Final.ODD}, State.UNKNOWN, "UNKNOWN"),
        ({"final": Final.FUTURE}, State.UNKNOWN, "UNKNOWN"),
        ({"final": Final.THERE, "has_staging": True}, State.COMPLETE_WITH_ORPHANS, "D-race"),
        ({"final": Final.THERE}, State.COMPLETE, "DONE"),
        ({"final": Final.ABSENT, "has_staging": True}, State.INTERRUPTED, "D"),
        ({"final": Final.OLD, "has_staging": True}, State.INTERRUPTED, "D"),
        ({"final": Final.ABSENT}, State.NEW, "A, B or C"),
        ({"final": Final.OLD}, State.NEW, "A, B or C"),
    )
)


def decide_foreign(facts: ForeignFacts) -> ForeignVerdict:
    """The verdict of the first row that fits; raises `LookupError` for what can't come about."""
    for row in FOREIGN_TABLE:
        if all(getattr(facts, name) == value for name, value in row.needs.items()):
            return ForeignVerdict(verdict=VERDICTS[row.state], called=row.called)
    raise LookupError(f"no row of the table fits {facts}")
