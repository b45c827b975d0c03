"""Opening to read what should be a file: at once, also where a pipe lies in its place. In the usual
way that would wait for somebody who writes to it."""

from __future__ import annotations

import errno
import os
import stat

READ_AT_ONCE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def open_at_once(path: str, flags: int) -> int:
    """For `open(…, opener=open_at_once)`."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    try:
        refuse_irregular(os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def refuse_irregular(mode: int) -> None:
    """Raises `OSError` for what is no file: a folder, a pipe, a device."""
    if not stat.S_ISREG(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.ESPIPE
        raise OSError(code, os.strerror(code))
