"""The one place that turns errors into exit codes, and shows them."""

from __future__ import annotations

import os
import traceback
from typing import Any

from batten.cli.output import emit_object, flush_output, settle_output, tell
from batten.errors import (
    BattenError,
    FailedRunError,
    InconsistentError,
    InterruptedRunError,
    StorageError,
)
from batten.model.rules.exit_codes import UNEXPECTED, find_ending
from batten.printable import blot
from batten.storage.blame import find_machine_failure


def end_with(error: BaseException, *, is_json: bool) -> int:
    """Show the error that ended a command as the contract says; gives the exit code."""
    try:
        if isinstance(error, BrokenPipeError):
            settle_output(error)
            return UNEXPECTED.exit_code
        exit_code = _show(as_expected(error), is_json)
        flush_output()
    except StorageError as unwritable:
        return _show(unwritable, is_json=False)
    return exit_code


def as_expected(error: BaseException) -> BattenError:
    """The error as it is told. One that nobody expected carries its traceback."""
    if isinstance(error, BattenError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return InterruptedRunError(
            "Interrupted.", safe="What is committed stays.", next="Run the same command again."
        )
    return find_machine_failure(error) or _find_lost_folder(error) or _explain(error)


def describe(error: BattenError) -> dict[str, Any]:
    """The object that a command prints that was ended by the error."""
    told = {name: blot(line) for name, line in error.to_json().items()}
    missing = {"missing": list(error.missing)} if isinstance(error, InconsistentError) else {}
    reached = error.report.to_json() if error.report is not None else {}
    return {**reached, "status": find_ending(error).status, "error": told, **missing}


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
        trace="".join(traceback.format_exception(error)),
    )


def _show(error: BattenError, is_json: bool) -> int:
    if isinstance(error, FailedRunError) and error.trace:
        tell(*blot(error.trace).rstrip("\n").split("\n"))
    tell(*(blot(line) for line in (error.what, error.safe, error.next) if line))
    if is_json:
        emit_object(describe(error))
    return find_ending(error).exit_code
