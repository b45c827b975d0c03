"""Kills processes at chosen places, without a tracer: at a line of Python, at a step of batten's.

A process that is killed (SIGKILL) does nothing more: no `finally`, no `atexit`, no rollback of its
own. So what a destination keeps afterwards is what it must cope with.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Collection
from types import FrameType
from typing import Any

from batten.storage.changing.faults import CRASH_AT


def kill_at_step(number: int, *, is_after: bool = False) -> dict[str, str]:
    """The environment in which a process of batten kills itself at its nth durable step.

    Args:
        number: Which step, from 1. They are counted over a process and its children.
        is_after: Whether it dies after the step. By default it dies before it.

    Returns:
        Variables to add to the environment of `batten run` or of a script.
    """
    return {CRASH_AT: f"{number}:{'after' if is_after else 'before'}"}


def kill_at_line(action: Callable[[], object], files: Collection[str], number: int) -> bool:
    """Do something in a forked process, which is killed before the nth line that it runs.

    Args:
        action: What the process does.
        files: The source files whose lines count, as `module.__file__` names them.
        number: Which line, from 1.

    Returns:
        Whether it was killed. False: `action` ended before it came so far.

    Raises:
        RuntimeError: `action` raised something; the trace is on standard error.
    """
    with warnings.catch_warnings():
        # Python warns of any thread; the process does nothing but `action`.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        _die_at_line(action, {os.path.realpath(file) for file in files}, number)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise RuntimeError(f"the process that was to be killed at line {number} failed: {status}")
    return False


def _die_at_line(action: Callable[[], object], files: Collection[str], number: int) -> None:
    left, is_own = number, dict[str, bool]()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        file = frame.f_code.co_filename
        if file not in is_own:
            is_own[file] = os.path.realpath(file) in files
        if not is_own[file]:
            return None
        if event == "line":
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    try:
        sys.settrace(trace)
        action()
        sys.settrace(None)
    except BaseException:  # noqa: BLE001  The process ends here, whatever it is.
        sys.settrace(None)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
