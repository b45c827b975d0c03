"""How a worker that has an item in hand reaches one of a step's own: a socket that they wait at.

All workers of a step take calls from one socket that listens, so the kernel keeps the queue. Each
call is a connection: who takes it says its number, gets the request, and answers. The name of the
socket lies in no folder, so a kill leaves nothing; both ends look who the other one is.
"""

from __future__ import annotations

import os
import socket
import struct

from batten.executors.processes.frames import Header, read_header, read_payload, write_frame
from batten.model.value_class import value_class

_PEER = struct.Struct("3i")


@value_class
class Lane:
    """Where the workers of a step are asked: the socket's name, and the handle that they accept
    at."""

    name: str
    handle: int


def open_lane(waiting_max: int) -> tuple[socket.socket, Lane]:
    """A socket at which so many calls may wait; whoever opened it closes it. Raises `OSError`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        name = f"batten-{os.urandom(16).hex()}"
        listener.bind(f"\0{name}")
        listener.listen(waiting_max)
    except OSError:
        listener.close()
        raise
    return listener, Lane(name=name, handle=listener.fileno())


def connect(lane: Lane) -> socket.socket:
    """A place in the queue. Raises `OSError`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(f"\0{lane.name}")
        _refuse_stranger(connection)
    except OSError:
        connection.close()
        raise
    return connection


def accept(listener: socket.socket) -> socket.socket | None:
    """The next who waits; None if it is another user. Raises `OSError`."""
    connection, _ = listener.accept()
    try:
        _refuse_stranger(connection)
    except PermissionError:
        connection.close()
        return None
    return connection


def _refuse_stranger(connection: socket.socket) -> None:
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, user, _ = _PEER.unpack(told)
    if user not in (os.getuid(), os.geteuid()):
        raise PermissionError("another user is at the other end of a socket of batten's")


def send(connection: socket.socket, number: int, payload: bytes = b"") -> None:
    """Blocks until all is sent. Raises `OSError` where nobody is there any more."""
    write_frame(connection.fileno(), number, 0, payload)


def receive(connection: socket.socket) -> tuple[Header, bytes]:
    """Blocks; raises `EOFError` or `OSError` when the other end has ended."""
    header = read_header(connection.fileno())
    return header, read_payload(connection.fileno(), header.length)
