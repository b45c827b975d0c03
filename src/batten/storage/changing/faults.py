"""Crashes and failures at a chosen durable step, asked for by environment variables.

    BATTEN_CRASH_AT=12          SIGKILL itself before the 12th step; also 12:before, 12:after
    BATTEN_FAIL_AT=12:ENOSPC    the 12th step fails with that error of the operating system
    BATTEN_COUNT_STEPS=FILE     a line "step name" is added to the file as each step begins

Steps are counted from 1 over the process that read the variables and all forked from it. The
process that comes to the step is the one that is killed.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from batten.errors import UsageError

CRASH_AT = "BATTEN_CRASH_AT"
FAIL_AT = "BATTEN_FAIL_AT"
COUNT_STEPS = "BATTEN_COUNT_STEPS"


def find_observer(environment: Mapping[str, str]) -> Callable[[str, str, str], None] | None:
    """The observer that the variables ask for, or None."""
    crash, fail = environment.get(CRASH_AT), environment.get(FAIL_AT)
    count_file = environment.get(COUNT_STEPS)
    if not (crash or fail or count_file):
        return None
    return _Faults(
        crash=_parse_crash(crash) if crash else None,
        fail=_parse_fail(fail) if fail else None,
        # Absolute, since the process may change its working folder.
        count_file=os.path.abspath(count_file) if count_file else None,
    ).observe


def _parse_crash(text: str) -> tuple[int, str]:
    number, _, moment = text.partition(":")
    if not number.isdecimal() or moment not in ("", "before", "after"):
        raise UsageError(f"{CRASH_AT}={text} is not understood.", next="Give 12 or 12:after.")
    return int(number), moment or "before"


def _parse_fail(text: str) -> tuple[int, int]:
    number, _, symbol = text.partition(":")
    code = getattr(errno, symbol, None)
    if not number.isdecimal() or not isinstance(code, int):
        raise UsageError(f"{FAIL_AT}={text} is not understood.", next="Give 12:ENOSPC.")
    return int(number), code


class _SharedCounter:
    """Counts over the process that made it and all that are forked from it."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("batten-steps")
        os.ftruncate(self._descriptor, 8)
        self._memory = mmap.mmap(self._descriptor, 8)
        self._threads = threading.Lock()
        os.register_at_fork(after_in_child=self._forget_threads)

    def _forget_threads(self) -> None:
        self._threads = threading.Lock()

    def next(self) -> int:
        # A record lock belongs to a process, so it excludes the others but not our own threads.
        with self._threads:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            try:
                number = int.from_bytes(self._memory[:8], "little") + 1
                self._memory[:8] = number.to_bytes(8, "little")
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        return number


@dataclass(kw_only=True)
class _Faults:
    crash: tuple[int, str] | None
    fail: tuple[int, int] | None
    count_file: str | None

    def __post_init__(self) -> None:
        self._counter = _SharedCounter()
        self._current = threading.local()

    def observe(self, moment: str, step: str, name: str) -> None:
        if moment == "before":
            self._current.number = self._counter.next()
            self._write_down(step, name)
        if self.crash == (self._current.number, moment):
            os.kill(os.getpid(), signal.SIGKILL)
        if moment == "before" and self.fail is not None and self.fail[0] == self._current.number:
            raise OSError(self.fail[1], os.strerror(self.fail[1]), name)

    def _write_down(self, step: str, name: str) -> None:
        if self.count_file is None:
            return
        line = f"{step} {name}".encode("unicode_escape") + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.count_file, flags, 0o666)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
