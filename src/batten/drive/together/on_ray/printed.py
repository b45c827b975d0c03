"""The last that a process prints: how it ended. All else is passed over, however much it is."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Callable

LAST_BYTES = 4096
LOOK_SECONDS = 0.5


def read_last(process: subprocess.Popen[bytes], goes_on: Callable[[], bool]) -> list[str]:
    """Its last lines on standard error, once it has ended, or there is no reason to go on; others
    may hold that open still."""
    if process.stderr is None:
        return []
    printed, last = process.stderr.fileno(), b""
    while goes_on():
        has_ended = process.poll() is not None
        if select.select([printed], [], [], 0 if has_ended else LOOK_SECONDS)[0]:
            data = os.read(printed, 1 << 16)
            if not data:
                break
            last = (last + data)[-LAST_BYTES:]
        elif has_ended:
            break
    process.stderr.close()
    return last.decode(errors="replace").strip().splitlines()
