"""A relay between a client and a server on this machine, that fails at a chosen message.

    with Relay(server_port) as relay:
        relay.fail(b"COMMIT", Failure.CUT_AFTER)
        ...                                  # a client of relay.port

Messages are what comes from clients at a time, counted over all connections: how a stream is cut
may differ from run to run. After the chosen one the relay does its work as if nothing had been.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Self

_PIECE_BYTES = 1 << 16

Chosen = int | bytes | Callable[[bytes], bool]
"""What says which message it is."""


class Mishap(Enum):
    """What becomes of a message and of its connection."""

    CUT_BEFORE = auto()
    """The server does not get it; both sides find the connection gone."""

    CUT_AFTER = auto()
    """The server gets it; the client finds the connection gone before any answer."""

    HANG_BEFORE = auto()
    """The server does not get it, and nobody is told."""

    HANG_AFTER = auto()
    """The server gets it; its answer goes nowhere, and nobody is told."""


class Relay:
    """Stands between client and server, and fails at a chosen message.

    It listens on `port`. `messages` counts what clients sent since `fail` or the start.

    Args:
        server_port: The port of the server on this machine.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._guard = threading.Lock()
        self._pairs: list[Pair] = []
        self._chosen: tuple[Chosen, Mishap | None, Callable[[], None]] | None = None
        self._threads: list[threading.Thread] = []
        self.messages = 0
        self._start(self._accept)

    def fail(
        self, chosen: Chosen | None, failure: Mishap | None, meet: Callable[[], None] = lambda: None
    ) -> None:
        """Choose the message to fail at.

        Args:
            chosen: The number of the message, from 0 and from now on; or bytes, for the first
                message that holds them; or what says it of each message; or None for no message.
            failure: What becomes of the message and of its connection; None: it goes on its way.
            meet: Called when the chosen message has come; by default nothing is.
        """
        with self._guard:
            self.messages = 0
            self._chosen = None if chosen is None else (chosen, failure, meet)

    def end_hung(self) -> None:
        """End the connections that hang, as a server does with a client of which it hears nothing.

        Until then what the client had begun goes on there, with its locks."""
        for pair in self._pairs:
            if pair.is_hung:
                pair.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for pair in self._pairs:
            pair.cut()
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            pair.close()

    def _start(self, target: Callable[..., None], *arguments: Pair) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server_port))
                except OSError:
                    client.close()
                    continue
                for end in (client, server):
                    # As clients and servers of databases do: small messages don't wait for others.
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pair = Pair(client, server)
                self._pairs.append(pair)
                self._start(self._forward, pair)
                self._start(self._answer, pair)

    def _forward(self, pair: Pair) -> None:
        with suppress(OSError):
            while data := self._take(pair.client):
                self._see(data, pair)
                failure = self._count(data)
                if failure in (Mishap.CUT_AFTER, Mishap.HANG_AFTER):
                    pair.is_answering = False
                if failure not in (Mishap.CUT_BEFORE, Mishap.HANG_BEFORE):
                    pair.server.sendall(data)
                if failure in (Mishap.HANG_BEFORE, Mishap.HANG_AFTER):
                    pair.is_hung = True
                    return
                if failure is not None:
                    break
        pair.cut()

    def _answer(self, pair: Pair) -> None:
        with suppress(OSError):
            while data := self._take(pair.server):
                if pair.is_answering:
                    pair.client.sendall(self._alter(data, pair))
        if pair.is_answering:
            pair.cut()

    def _take(self, end: socket.socket) -> bytes:
        """The next message from there; empty at the end."""
        return end.recv(_PIECE_BYTES)

    def _see(self, message: bytes, pair: Pair) -> None:
        """What comes from a client, before anything becomes of it."""

    def _alter(self, answer: bytes, pair: Pair) -> bytes:
        """What the client gets in the place of an answer."""
        return answer

    def _count(self, data: bytes) -> Mishap | None:
        with self._guard:
            number, self.messages = self.messages, self.messages + 1
            if self._chosen is None:
                return None
            chosen, failure, meet = self._chosen
            if callable(chosen):
                is_it = chosen(data)
            else:
                is_it = chosen in data if isinstance(chosen, bytes) else chosen == number
            if not is_it:
                return None
            self._chosen = None
        meet()
        return failure


class Pair:
    """The two ends of one connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_answering = True
        self.is_hung = False

    def cut(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.client.close()
        self.server.close()
