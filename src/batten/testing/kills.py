"""Kills processes at chosen places, without a tracer: lines, calls in C, steps of batten's.

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

from batten.model.value_class import value_class
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
    left, is_own = number, dict[str, bool]()
    own = {os.path.realpath(file) for file in files}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        file = frame.f_code.co_filename
        if file not in is_own:
            is_own[file] = os.path.realpath(file) in own
        if not is_own[file]:
            return None
        if event == "line":
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return _is_killed(action, lambda: sys.settrace(trace), f"line {number}")


@value_class
class ClientCall:
    """One call of a client that is written in C, such as the third `Producer.flush`.

    Attributes:
        name: Class and method.
        number: Which of the calls of this name, from 1.
    """

    name: str
    number: int


def list_calls(action: Callable[[], object], clients: tuple[type, ...]) -> list[ClientCall]:
    """Do something, and tell which methods of clients written in C it calls.

    Args:
        action: What is done, in this process and this thread.
        clients: The classes of these clients.

    Returns:
        The calls in their order, those of other threads aside.
    """
    calls: list[ClientCall] = []
    counts: dict[str, int] = {}

    def profile(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and (name := _name_call(function, clients)):
            counts[name] = counts.get(name, 0) + 1
            calls.append(ClientCall(name=name, number=counts[name]))

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


def kill_at_call(
    action: Callable[[], object],
    clients: tuple[type, ...],
    call: ClientCall,
    *,
    is_after: bool = False,
) -> bool:
    """Do something in a forked process, which is killed at a call of a client written in C.

    Args:
        action: What the process does.
        clients: The classes of these clients.
        call: One of the calls that `list_calls` told.
        is_after: Whether it dies when the call has returned, or raised. By default it dies before.

    Returns:
        Whether it was killed. False: `action` ended without that call.

    Raises:
        RuntimeError: `action` raised something; the trace is on standard error.
    """
    left = call.number
    events = ("c_return", "c_exception") if is_after else ("c_call",)

    def profile(frame: FrameType, event: str, function: Any) -> None:
        nonlocal left
        if event in events and _name_call(function, clients) == call.name:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    return _is_killed(action, lambda: sys.setprofile(profile), f"{call}")


def _name_call(function: Any, clients: tuple[type, ...]) -> str:
    """Class and method; empty if it is no call of these clients."""
    client = getattr(function, "__self__", None)
    return f"{type(client).__name__}.{function.__name__}" if isinstance(client, clients) else ""


def _is_killed(action: Callable[[], object], watch: Callable[[], None], told: str) -> bool:
    """Whether the forked process that does it was killed by what watches it."""
    with warnings.catch_warnings():
        # Python warns of any thread; the process does nothing but `action`.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        _do_watched(action, watch)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise RuntimeError(f"the process that was to be killed at {told} failed: {status}")
    return False


def _do_watched(action: Callable[[], object], watch: Callable[[], None]) -> None:
    try:
        watch()
        action()
        _unwatch()
    except BaseException:  # noqa: BLE001  The process ends here, whatever it is.
        _unwatch()
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _unwatch() -> None:
    sys.settrace(None)
    sys.setprofile(None)
