"""Who may use what batten makes: as the umask says that held when a run began.

A function of the user may change the umask, which is the whole process's, for files of its own
(decision 0033).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_FILE = 0o666
_PERMISSIONS = 0o777


class Modes:
    """The umask of the moment in which this is made; kept by forked processes and by pickles."""

    def __init__(self) -> None:
        self._umask = read_umask()

    def settle(self, descriptor: int) -> None:
        """A file that was made a moment ago has the permissions that it would have had then. Where
        only a default list of access gives it others, these stay."""
        wanted = _FILE & ~self._umask
        has_others = os.fstat(descriptor).st_mode & _PERMISSIONS != wanted
        if has_others and read_umask() != self._umask:
            os.fchmod(descriptor, wanted)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """While a folder is made: it can't be opened for a change where nobody may read it."""
        now = read_umask()
        if now == self._umask:
            yield
            return
        os.umask(self._umask)
        try:
            yield
        finally:
            os.umask(now)


def read_umask() -> int:
    """That of this process. The system call can only set it, which other threads would see."""
    try:
        with open("/proc/self/status", "rb", buffering=0) as status:
            text = status.read(4096)
        return int(text.split(b"\nUmask:", 1)[1].split(None, 1)[0], 8)
    except (OSError, IndexError, ValueError):
        found = os.umask(0o077)
        os.umask(found)
        return found
