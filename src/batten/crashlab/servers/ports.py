"""Ports for servers of this machine, which nobody else is given meanwhile.

A port that the kernel chose and that was let go again is given to the next who asks for any, be it
a client. A server that begins there later, or once more after a crash, may find it taken.
"""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

_MIN, _MAX = 12_000, 22_000
"""Below those that the kernel gives to whoever asks for any."""
_TRIED_MAX = 1000


def find_ports(count: int, *, with_above: int | None = None) -> list[int]:
    """Ports that nobody has; nor does anybody have those that lie so many above them."""
    found: list[int] = []
    with ExitStack() as held:
        for port in random.SystemRandom().sample(range(_MIN, _MAX), _TRIED_MAX):
            try:
                for each in (port, port + with_above) if with_above else (port,):
                    held.enter_context(socket.create_server(("127.0.0.1", each)))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"only {len(found)} of {count} ports are free")
