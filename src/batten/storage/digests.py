"""The digest of a file's bytes, of which only a piece is in memory at a time."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from batten.storage.base import Store

_PIECE_BYTES = 1 << 20


def digest_file(storage: Store, name: str) -> str:
    """The SHA-256 of a file. Raises `FileNotFoundError`, or `StorageError`."""
    with storage.open(name) as file:
        return digest_open(file)


def digest_open(file: BinaryIO) -> str:
    """The SHA-256 of what is left to read of a file."""
    digest = hashlib.sha256()
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()
