"""What items without a key were when they were planned: `plan/000000.digests`.

The digests of the items come in order, `DIGEST_BYTES` each. Then comes the SHA-256 of all these
(decision 0046).
"""

from __future__ import annotations

import hashlib

DIGEST_BYTES = 8

_END_BYTES = hashlib.sha256().digest_size


def seal_digests(digests: bytes) -> bytes:
    return digests + hashlib.sha256(digests).digest()


def open_digests(data: bytes) -> bytes | None:
    """The digests, or None if the file was damaged."""
    digests = data[:-_END_BYTES]
    return digests if hashlib.sha256(digests).digest() == data[-_END_BYTES:] else None
