"""How a command or a run that raised has ended: its exit code, and its status."""

from __future__ import annotations

from typing import NamedTuple

from batten.errors import (
    BattenError,
    BusyError,
    FailedRunError,
    InconsistentError,
    InterruptedRunError,
    MisplacedError,
    QuarantinedError,
    RefusedError,
    StorageError,
    UsageError,
)
from batten.model.words import RunStatus


class Ending(NamedTuple):
    """The exit code of a command, and `status` in JSON."""

    exit_code: int
    status: RunStatus


UNEXPECTED = Ending(1, RunStatus.FAILED)

ENDINGS: dict[type[BattenError], Ending] = {
    UsageError: Ending(2, RunStatus.FAILED),
    InconsistentError: Ending(4, RunStatus.INCONSISTENT),
    RefusedError: Ending(5, RunStatus.REFUSED),
    BusyError: Ending(6, RunStatus.BUSY),
    StorageError: Ending(7, RunStatus.FAILED),
    MisplacedError: Ending(4, RunStatus.INCONSISTENT),
    InterruptedRunError: Ending(75, RunStatus.INTERRUPTED),
    FailedRunError: UNEXPECTED,
    QuarantinedError: Ending(3, RunStatus.COMPLETE),
}


def find_ending(error: BaseException) -> Ending:
    """The ending of the nearest class of the error that has one."""
    for kind in type(error).__mro__:
        if kind in ENDINGS:
            return ENDINGS[kind]
    return UNEXPECTED
