"""How a script ends that lets an error of a run go by: in three lines (decision 0114)."""

from __future__ import annotations

import sys
from types import TracebackType

from batten.errors import BattenError, FailedRunError, InterruptedRunError
from batten.model.rules.exit_codes import find_ending
from batten.printable import blot, tell


def show_short() -> None:
    """From now on such an error is three lines instead of a traceback through batten's own code.
    Where the program or a library has set a hook of its own, that stays."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # One without a report is of how the pipeline is written. For that the line is needed.
    if not isinstance(error, BattenError) or error.report is None or sys.flags.dev_mode:
        sys.__excepthook__(kind, error, trace)
        return
    told = blot(error.trace).rstrip("\n").split("\n") if isinstance(error, FailedRunError) else []
    lines = [*filter(None, told), *(blot(line) for line in str(error).split("\n"))]
    for line in lines:
        tell(line, sys.stderr)
    is_session = hasattr(sys, "ps1") or sys.flags.interactive
    if isinstance(error, InterruptedRunError) and not is_session:
        # Python's own 1 would tell a scheduler that the job had failed.
        raise SystemExit(find_ending(error).exit_code)
