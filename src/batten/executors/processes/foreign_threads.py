"""Threads of this process that a fork would leave behind.

A fork has one thread. What others held or were to do is lost: a lock stays taken, a pool waits for
ever. Python's own threads are known by name. A library's are told by their names, or by the code
that they began in, since few have one: pools of Arrow and of OpenBLAS know of forks, and begin
anew.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
import warnings
from collections.abc import Iterator

OWN_PREFIX = "batten-"

_SAFE_NAMES = frozenset({"jemalloc_bg_thd"})
_SAFE = ("libarrow", "libparquet", "openblas")
_RUNTIME = ("libc.", "libc-", "libstdc++", "libgcc", "libm.", "libpthread", "ld-", "[vdso]")
_NAME_BYTES = 15
_STACK_BYTES_MAX = 1 << 16
_WARNS = sys.hexversion >= 0x030C0000
_LOOK_SECONDS = 0.005
_LOOKS = 6000
_RUN_NANOSECONDS_MAX = 500_000_000
"""A thread that runs has no stack to be read. One that has just ended its work rests soon, when it
has had a processor for so long: on a busy machine that may take a while."""


def fork() -> int:
    """`os.fork`. From Python 3.12 on it warns of any threads; where all of them survive, and only
    there, the warning is left out."""
    if not _WARNS or find_foreign_threads():
        return os.fork()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def find_foreign_threads() -> list[str]:
    """The names of threads that are not batten's and do not survive a fork, without repetition."""
    here = threading.current_thread()
    known = {threading.get_native_id()}
    names: list[str] = []
    for thread in threading.enumerate():
        if thread.native_id is not None:
            known.add(thread.native_id)
        if thread is not here and not thread.name.startswith(OWN_PREFIX):
            names.append(thread.name)
    others = [thread for thread in _list_threads() if thread not in known]
    named = [(thread, _name(thread)) for thread in others]
    found = [(thread, name) for thread, name in named if name and name not in _SAFE_NAMES]
    # Pools that know of forks give their threads no name. Arrow's client of S3 does: it does not.
    unnamed = {_name(os.getpid()), os.path.basename(sys.executable)[:_NAME_BYTES]}
    mappings = list(_list_code()) if any(name in unnamed for _, name in found) else []
    for number, name in found:
        if name not in unnamed or not _survives_fork(number, mappings):
            names.append(name)
    return list(dict.fromkeys(names))


def _list_threads() -> list[int]:
    try:
        return sorted(map(int, os.listdir("/proc/self/task")))
    except OSError:
        return []


def _name(thread: int) -> str:
    """Nothing, if it has ended since it was listed."""
    try:
        with open(f"/proc/self/task/{thread}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""


Mapping = tuple[int, int, str]
"""Where memory begins and ends, and the file whose code it is."""


def _list_code() -> Iterator[Mapping]:
    with open("/proc/self/maps", errors="replace", newline="\n") as file:
        for line in file:
            place, rights, _, _, _, *path = line.split(maxsplit=5)
            if "x" in rights and path:
                start, stop = (int(each, 16) for each in place.split("-"))
                yield start, stop, os.path.basename(path[0].strip())


def _survives_fork(thread: int, mappings: list[Mapping]) -> bool:
    """Whether its code is of libraries that begin their threads anew after a fork; True for one
    that has ended."""
    begun = _run_nanoseconds(thread)
    for _ in range(_LOOKS):
        try:
            stack = _read_stack(thread)
        except (OSError, ValueError, IndexError, struct.error):
            return not os.path.exists(f"/proc/self/task/{thread}")
        # A thread belongs to the library whose code it began in, the outermost on its stack, and
        # waits in the innermost. Between the frames lies what earlier calls left, even those of
        # an earlier thread that had this stack: so one of the two ends may mislead.
        files = _list_callers(stack, mappings)
        own = [file for file in files if not file.startswith(_RUNTIME)]
        if own:
            return any(word in end for end in (own[0], own[-1]) for word in _SAFE)
        if _run_nanoseconds(thread) - begun > _RUN_NANOSECONDS_MAX:
            return False
        time.sleep(_LOOK_SECONDS)
    return False


def _run_nanoseconds(thread: int) -> int:
    """For how long it has had a processor; 0 where the kernel does not tell."""
    try:
        with open(f"/proc/self/task/{thread}/schedstat") as file:
            return int(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _read_stack(thread: int) -> bytes:
    """The stack of a thread that rests; nothing of one that runs, or that a debugger holds up. A
    thread on its way out still has a stack: it is soon gone."""
    with open(f"/proc/self/task/{thread}/syscall") as file:
        call = file.read().split()
    if len(call) < 3:
        return b""
    top = int(call[-2], 16)
    with open("/proc/self/maps", errors="replace", newline="\n") as file:
        places = [[int(each, 16) for each in line.split(maxsplit=1)[0].split("-")] for line in file]
    stop = next((stop for start, stop in places if start <= top < stop), top)
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        memory.seek(top)
        stack = memory.read(min(stop - top, _STACK_BYTES_MAX) // 8 * 8)
    return stack if _rests(thread) else b""


def _rests(thread: int) -> bool:
    with open(f"/proc/self/task/{thread}/stat", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0] == "S"


def _list_callers(stack: bytes, mappings: list[Mapping]) -> Iterator[str]:
    """The files whose code is returned to, the innermost first."""
    for (word,) in struct.iter_unpack("=Q", stack):
        for start, stop, file in mappings:
            if start <= word < stop:
                yield file
