"""The signals that ask a run to stop, and how those processes outlive them that are not asked."""

from __future__ import annotations

import signal
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A person or a scheduler wants the run to end."""

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""Batch schedulers send one some time before they kill; the kernel sends SIGXCPU each second once
the time on the processor is used up. The system's own answer to them is death."""


def is_free(number: signal.Signals) -> bool:
    """Whether the signal has the system's own answer: neither a handler of Python's, nor one of a
    library in C (`faulthandler.register`), nor is it ignored."""
    return signal.getsignal(number) is signal.SIG_DFL and not _is_caught(number)


def ignore(number: int, frame: FrameType | None) -> None:
    """The driver decides when the others end."""


def outlive_signals() -> None:
    """For the processes beside the driver: a signal that goes to all processes of a job ends none
    of them. Handlers of the job's own stay. A reader that went away is an error of the write.

    By a handler and not `SIG_IGN`, which programs that the user's function starts would inherit."""
    for number in STOPPING:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, ignore)
    for number in WARNINGS:
        if is_free(number):
            signal.signal(number, ignore)
    if is_free(signal.SIGPIPE):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def _is_caught(number: int) -> bool:
    """By a handler of which Python need not know."""
    try:
        with open("/proc/self/status", "rb") as file:
            caught = next(line for line in file if line.startswith(b"SigCgt:"))
    except (OSError, StopIteration):
        return False
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
