"""The one place that turns errors into exit codes, and shows them."""

from __future__ import annotations

import os
import traceback
from typing import NamedTuple

from batten.cli.output import emit_object, flush_output, settle_output, tell
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
from batten.printable import blot
from batten.storage.blame import find_machine_failure


class Ending(NamedTuple):
    """How a command that raised ends: its exit code, and `status` in JSON."""

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


def find_ending(error: BattenError) -> Ending:
    """The ending of the nearest class of the error that has one."""
    for kind in type(error).__mro__:
        if kind in ENDINGS:
            return ENDINGS[kind]
    return UNEXPECTED


def end_with(error: BaseException, *, is_json: bool) -> int:
    """Show the error that ended a command as the contract says; gives the exit code."""
    try:
        exit_code = _show_any(error, is_json)
        flush_output()
    except StorageError as unwritable:
        return _show(unwritable, is_json=False)
    return exit_code


def _show_any(error: BaseException, is_json: bool) -> int:
    if isinstance(error, BattenError):
        return _show(error, is_json)
    if isinstance(error, BrokenPipeError):
        settle_output(error)
        return UNEXPECTED.exit_code
    if isinstance(error, KeyboardInterrupt):
        interruption = InterruptedRunError(
            "Interrupted.", safe="What is committed stays.", next="Run the same command again."
        )
        return _show(interruption, is_json)
    if (lacking := find_machine_failure(error) or _find_lost_folder(error)) is not None:
        return _show(lacking, is_json)
    tell(*blot("".join(traceback.format_exception(error))).rstrip("\n").split("\n"))
    return _show(_explain(error), is_json)


def _find_lost_folder(error: BaseException) -> StorageError | None:
    """What to tell where relative paths lead nowhere. The system names no file then."""
    if not isinstance(error, FileNotFoundError) or error.filename is not None:
        return None
    try:
        os.getcwd()
    except OSError:
        return StorageError(
            "The current folder is not there any more.",
            safe="What is committed stays; nothing is deleted by a failure.",
            next="Go to a folder that is there (cd), and run the same command again.",
            errno=error.errno,
        )
    return None


def _explain(error: BaseException) -> FailedRunError:
    return FailedRunError(
        f"Unexpected {type(error).__name__}: {error}",
        safe="What is committed stays; nothing is deleted by a failure.",
        next="See what is there: batten diagnose PATH, with the path of the output. If it happens "
        "again, report it with these lines.",
    )


def _show(error: BattenError, is_json: bool) -> int:
    ending = find_ending(error)
    if isinstance(error, FailedRunError) and error.trace:
        tell(*blot(error.trace).rstrip("\n").split("\n"))
    tell(*(blot(line) for line in (error.what, error.safe, error.next) if line))
    if is_json:
        told = {name: blot(line) for name, line in error.to_json().items()}
        missing = {"missing": list(error.missing)} if isinstance(error, InconsistentError) else {}
        reached = error.report.to_json() if error.report is not None else {}
        emit_object({**reached, "status": ending.status, "error": told, **missing})
    return ending.exit_code
