"""A seccomp filter that stops a process only at the system calls that are of interest.

Everything else runs at full speed; the filter is inherited by whatever the process starts.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable

from batten.crashlab.tracing.ptrace import check, libc
from batten.crashlab.tracing.system_calls import SystemCall

_AUDIT_ARCH_X86_64 = 0xC000003E
_RETURN_ALLOW = 0x7FFF0000
_RETURN_TRACE = 0x7FF00000
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

# Offsets in struct seccomp_data; of an argument only the low half is looked at, where flags are.
_NUMBER_OFFSET = 0
_ARCHITECTURE_OFFSET = 4
_ARGUMENTS_OFFSET = 16

# Operations of classic BPF: load a word, jump if equal, jump if any bit is set, return.
_LOAD = 0x20
_JUMP_EQUAL = 0x15
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _instruction(operation: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", operation, if_true, if_false, value)


def build_filter(rows: Iterable[SystemCall]) -> bytes:
    """The program that stops at these calls, and at no others."""
    program = [
        _instruction(_LOAD, _ARCHITECTURE_OFFSET),
        _instruction(_JUMP_EQUAL, _AUDIT_ARCH_X86_64, if_true=1),
        _instruction(_RETURN, _RETURN_ALLOW),
        _instruction(_LOAD, _NUMBER_OFFSET),
    ]
    for row in rows:
        body: list[bytes] = []
        for place, condition in enumerate(row.conditions):
            # Where it does not hold, skip the remaining conditions and the return.
            beyond = 2 * (len(row.conditions) - place - 1) + 1
            body.append(_instruction(_LOAD, _ARGUMENTS_OFFSET + 8 * condition.argument))
            body.append(_instruction(_JUMP_ANY_BIT, condition.mask, if_false=beyond))
        body.append(_instruction(_RETURN, _RETURN_TRACE))
        if row.conditions:
            body.append(_instruction(_LOAD, _NUMBER_OFFSET))
        program.append(_instruction(_JUMP_EQUAL, row.number, if_false=len(body)))
        program.extend(body)
    program.append(_instruction(_RETURN, _RETURN_ALLOW))
    return b"".join(program)


def install_filter(program: bytes) -> None:
    """Put the calling process under the filter, for good."""
    header = _Program(len(program) // 8, program)
    check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    check(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(header), 0, 0))
