"""The digest of a file's bytes, of which only a piece is in memory at a time."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

from batten.storage.base import Piece, Store

_PIECE_BYTES = 1 << 20


class Measured:
    """The size in bytes and the SHA-256 of all that went by."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def add(self, piece: Piece) -> None:
        self._digest.update(piece)
        self.size += len(piece)

    def pass_on(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The same pieces."""
        for piece in pieces:
            self.add(piece)
            yield piece

    def read_all(self, file: BinaryIO) -> None:
        """What is left to read of a file goes by."""
        while piece := file.read(_PIECE_BYTES):
            self.add(piece)

    def read_descriptor(self, descriptor: int, buffer: bytearray) -> None:
        """The same of an open file, by way of a buffer that may serve for many."""
        view = memoryview(buffer)
        while count := os.readv(descriptor, [buffer]):
            self.add(view[:count])


def digest_file(storage: Store, name: str) -> str:
    """The SHA-256 of a file. Raises `FileNotFoundError`, or `StorageError`."""
    with storage.open(name) as file:
        return digest_open(file)


def find_digest(storage: Store, name: str) -> str:
    """The same; empty if there is no such file."""
    try:
        return digest_file(storage, name)
    except FileNotFoundError:
        return ""


def digest_open(file: BinaryIO) -> str:
    """The SHA-256 of what is left to read of a file."""
    measured = Measured()
    measured.read_all(file)
    return measured.digest


def find_digest_of_path(path: str, *, bytes_max: int) -> str:
    """That of a file of the user's, which may be anything; empty if it can't be read, is no regular
    file, or is larger."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_size <= bytes_max:
                return digest_open(file)
    return ""
