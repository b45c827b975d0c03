"""A relay between clients of Kafka and a broker on this machine.

A broker tells its clients where it is. So the relay puts its own port into the answers. Messages
are whole requests, and one is chosen by what it asks for.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from enum import IntEnum

from batten.crashlab.servers.relay import Relay

_LENGTH_BYTES = 4
_HOST = b"127.0.0.1"


class Asked(IntEnum):
    """What requests ask for, by Kafka's numbers."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    FIND_COORDINATOR = 10
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    END_TXN = 26
    DESCRIBE_CONFIGS = 32


class BrokerRelay(Relay):
    """Stands between clients and a broker.

    Args:
        server_port: The port of the broker on this machine.
    """

    def __init__(self, server_port: int) -> None:
        self._written = _HOST + struct.pack(">i", server_port)
        super().__init__(server_port)
        self._instead = _HOST + struct.pack(">i", self.port)

    @property
    def servers(self) -> str:
        """Where clients find the broker."""
        return f"127.0.0.1:{self.port}"

    def _take(self, end: socket.socket) -> bytes:
        head = _receive(end, _LENGTH_BYTES)
        return head + _receive(end, int.from_bytes(head)) if head else b""

    def _alter(self, answer: bytes) -> bytes:
        return answer.replace(self._written, self._instead)


def nth(request: Asked, number: int) -> Callable[[bytes], bool]:
    """Says it of the nth request of this kind, from 0."""
    seen = 0

    def is_it(data: bytes) -> bool:
        nonlocal seen
        if int.from_bytes(data[_LENGTH_BYTES : _LENGTH_BYTES + 2]) != request:
            return False
        seen += 1
        return seen == number + 1

    return is_it


def _receive(end: socket.socket, size: int) -> bytes:
    """So many bytes, or none if the other side has ended before."""
    data = b""
    while len(data) < size:
        piece = end.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data
