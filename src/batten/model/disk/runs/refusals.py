"""Why a run was not let begin, and the ways on from there.

A run log keeps them as checked fields, so that the advice is made when it is shown (decisions 0039,
0074).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

from batten.model.disk.bounds import Damaged, build
from batten.model.disk.runs.job_calls import JobCall
from batten.model.value_class import value_class


class Cause(StrEnum):
    """What kept the run from beginning, if the next run would be refused for it, too."""

    JOB = "changed"
    SOURCE = "source"


class CauseTexts(NamedTuple):
    """How a cause is told, and how it is undone."""

    told: str
    undo: str


CAUSES: dict[Cause, CauseTexts] = {
    Cause.JOB: CauseTexts(
        "the job is not the one that made what is there",
        "undo the change of the job",
    ),
    Cause.SOURCE: CauseTexts(
        "rows of the source are not what they were",
        "put the rows back as they were",
    ),
}


class Way(StrEnum):
    """How to go on after a refusal, by options of the next run. The order is that of safety."""

    FRESH = "--fresh"
    ACCEPT = "--accept-change"
    ADD_COLUMNS = "--accept-change --add-columns"
    RETRY = "--retry-quarantined"
    ACCEPT_AND_RETRY = "--accept-change --retry-quarantined"

    @property
    def options(self) -> tuple[str, ...]:
        """The words of the command."""
        return tuple(self.value.split())


COSTS: dict[Way, str] = {
    Way.FRESH: "computes all items anew; what is there stays until that is done",
    Way.ACCEPT: "keeps the published rows; computes the rest with the current job",
    Way.ADD_COLUMNS: "keeps the published rows, with nulls in the new columns; computes the rest "
    "with the current job",
    Way.RETRY: "keeps the published rows; tries what failed with the current job",
    Way.ACCEPT_AND_RETRY: "keeps the published rows; computes the rest, and tries what failed, "
    "with the current job",
}
"""What each way does, for people who choose."""


def read_cause(value: object) -> Cause | None:
    """The cause that a log names. None if it names none, or one that is not known."""
    return next((each for each in Cause if each.value == value), None)


def read_ways(value: object) -> tuple[Way, ...]:
    """The ways that a log names, the safest first; others are left out."""
    told = [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
    return order_ways(way for way in Way if way.value in told)


def order_ways(ways: Iterable[Way]) -> tuple[Way, ...]:
    """The safest first, each once."""
    given = set(ways)
    return tuple(way for way in Way if way in given)


def read_call(value: object) -> JobCall | None:
    """How the refused run was started, where its log tells that rightly."""
    try:
        call: Any = build(JobCall, value)
    except Damaged:
        return None
    return call if isinstance(call, JobCall) else None


@value_class
class Refusal:
    """Why a run was not let begin, what the next one may do, and how it was started."""

    cause: Cause
    ways: tuple[Way, ...]
    call: JobCall | None
