"""A relay between clients of Kafka and a broker on this machine.

A broker tells its clients where it is. So the relay puts its own port into the answers. Messages
are whole requests, and one is chosen by what it asks for.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from enum import IntEnum

from batten.crashlab.servers.relay import Pair, Relay

_LENGTH_BYTES = 4
_HOST = b"127.0.0.1"


class Asked(IntEnum):
    """What requests ask for, by Kafka's numbers."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
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
        self._error: tuple[Asked, str, int] | None = None
        self._wrong: dict[tuple[Pair, bytes], tuple[Asked, str, int]] = {}
        super().__init__(server_port)
        self._instead = _HOST + struct.pack(">i", self.port)

    @property
    def servers(self) -> str:
        """Where clients find the broker."""
        return f"127.0.0.1:{self.port}"

    def answer(self, request: Asked, topic: str, code: int) -> None:
        """Let the answer to the next such request that names the topic say this error, of the topic
        or of its first partition."""
        self._error = (request, topic, code)

    @property
    def has_answered(self) -> bool:
        """Whether such a request has come."""
        return self._error is None

    def _take(self, end: socket.socket) -> bytes:
        head = _receive(end, _LENGTH_BYTES)
        return head + _receive(end, int.from_bytes(head)) if head else b""

    def _see(self, message: bytes, pair: Pair) -> None:
        error = self._error
        if error and _read_request(message) == error[0] and error[1].encode() in message:
            self._wrong[pair, message[8:12]] = error
            self._error = None

    def _alter(self, answer: bytes, pair: Pair) -> bytes:
        if error := self._wrong.pop((pair, answer[4:8]), None):
            answer = _tell_error(answer, *error)
        return answer.replace(self._written, self._instead)


def nth(request: Asked, number: int) -> Callable[[bytes], bool]:
    """Says it of the nth request of this kind, from 0."""
    seen = 0

    def is_it(data: bytes) -> bool:
        nonlocal seen
        if _read_request(data) != request:
            return False
        seen += 1
        return seen == number + 1

    return is_it


def _read_request(message: bytes) -> int:
    return int.from_bytes(message[_LENGTH_BYTES : _LENGTH_BYTES + 2])


def _tell_error(answer: bytes, request: Asked, topic: str, code: int) -> bytes:
    """The answer with the error in it. An error has two bytes, behind the number of the partition;
    in metadata, before the name of the topic."""
    name = topic.encode()
    at = answer.index(name)
    # Newer versions write lengths in one byte, older ones names' in two and lists' in four.
    is_newer = answer[at - 2 : at] != struct.pack(">h", len(name))
    if request is Asked.METADATA:
        place = at - (1 if is_newer else 2) - 2
    else:
        place = at + len(name) + (1 if is_newer else 4) + 4
    return answer[:place] + struct.pack(">h", code) + answer[place + 2 :]


def _receive(end: socket.socket, size: int) -> bytes:
    """So many bytes, or none if the other side has ended before."""
    data = b""
    while len(data) < size:
        piece = end.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data
