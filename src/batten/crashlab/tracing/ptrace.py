"""A thin layer over ptrace(2) on x86-64: seize, resume, read and change a stopped thread.

Every function raises `ProcessLookupError` when the thread has died, which it may at any time.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from dataclasses import dataclass

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long

_CONTINUE = 7
_GET_REGISTERS = 12
_SET_REGISTERS = 13
_SYSTEM_CALL = 24
_SEIZE = 0x4206
_LISTEN = 0x4208

EVENT_SECCOMP = 7
EVENT_STOP = 128

_MARK_SYSTEM_CALL_STOPS = 1
_FOLLOW_FORK = 1 << 1
_FOLLOW_VFORK = 1 << 2
_FOLLOW_CLONE = 1 << 3
_TELL_OF_SECCOMP = 1 << EVENT_SECCOMP
_KILL_WITH_TRACER = 1 << 20
_OPTIONS = (
    _MARK_SYSTEM_CALL_STOPS
    | _FOLLOW_FORK
    | _FOLLOW_VFORK
    | _FOLLOW_CLONE
    | _TELL_OF_SECCOMP
    | _KILL_WITH_TRACER
)

_SYSTEM_CALL_STOP_SIGNAL = signal.SIGTRAP | 0x80
_STOPPING_SIGNALS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

# Indices into struct user_regs_struct.
_REGISTER_COUNT = 27
_RESULT = 10
_ARGUMENTS = (14, 13, 12, 7, 9, 8)
_NUMBER = 15
_NO_SYSTEM_CALL = ctypes.c_ulonglong(-1).value


def check(result: int) -> int:
    """The result of a call of the C library, or its errno as an `OSError`."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def find_platform_obstacle() -> str | None:
    """Why this kind of machine cannot be traced, or None."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return f"needs x86-64 Linux, and this is {platform.machine()} {sys.platform}"
    return None


@dataclass(frozen=True)
class Stop:
    """Why a thread stopped: `event` of ptrace, or 0 and the `signal` that is being delivered."""

    event: int
    signal: int

    @classmethod
    def of(cls, status: int) -> Stop:
        return cls(status >> 16, os.WSTOPSIG(status))

    @property
    def is_system_call(self) -> bool:
        return self.signal == _SYSTEM_CALL_STOP_SIGNAL

    @property
    def is_group_stop(self) -> bool:
        return self.event == EVENT_STOP and self.signal in _STOPPING_SIGNALS


class Registers:
    """The registers of a thread that is stopped at a system call."""

    def __init__(self, thread: int) -> None:
        self._thread = thread
        self._values = (ctypes.c_ulonglong * _REGISTER_COUNT)()
        check(libc.ptrace(_GET_REGISTERS, thread, None, self._values))

    @property
    def number(self) -> int:
        return int(self._values[_NUMBER])

    @property
    def arguments(self) -> tuple[int, ...]:
        return tuple(int(self._values[index]) for index in _ARGUMENTS)

    @property
    def result(self) -> int:
        return ctypes.c_longlong(self._values[_RESULT]).value

    def set_argument(self, argument: int, value: int) -> None:
        self._set(_ARGUMENTS[argument], value)

    def set_result(self, value: int) -> None:
        self._set(_RESULT, ctypes.c_ulonglong(value).value)

    def skip_call(self) -> None:
        """The kernel will not carry out the call; its result is then whatever is set."""
        self._set(_NUMBER, _NO_SYSTEM_CALL)

    def _set(self, index: int, value: int) -> None:
        self._values[index] = value
        check(libc.ptrace(_SET_REGISTERS, self._thread, None, self._values))


def seize(process: int) -> None:
    """Trace the process and all that it will start; they die with the tracer."""
    check(libc.ptrace(_SEIZE, process, None, _OPTIONS))


def resume(thread: int, *, deliver: int = 0, until_call_ends: bool = False) -> None:
    """Let the thread go on, with a signal where one is due."""
    request = _SYSTEM_CALL if until_call_ends else _CONTINUE
    check(libc.ptrace(request, thread, None, deliver))


def remain_stopped(thread: int) -> None:
    """Leave a thread stopped that was stopped by a signal, until SIGCONT."""
    check(libc.ptrace(_LISTEN, thread, None, None))


def read_memory(thread: int, address: int, length: int) -> bytes:
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        return os.pread(memory.fileno(), length, address)


def write_memory(thread: int, address: int, data: bytes) -> None:
    with open(f"/proc/{thread}/mem", "r+b", buffering=0) as memory:
        os.pwrite(memory.fileno(), data, address)


def read_string(thread: int, address: int) -> bytes:
    """The bytes up to the first zero; page by page, since the next page may not be there."""
    text = b""
    while b"\0" not in text:
        piece = read_memory(thread, address, _PAGE_SIZE - address % _PAGE_SIZE)
        if not piece:
            break
        text += piece
        address += len(piece)
    return text.split(b"\0", 1)[0]
