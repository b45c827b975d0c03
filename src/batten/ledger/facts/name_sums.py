"""Whether two sets of names are the same, without keeping the names."""

from __future__ import annotations

import os
from hashlib import blake2b

_BUCKETS = 512
_SALT = os.urandom(16)
"""So that nobody can make names whose sums are alike."""


class NameSums:
    """Sums of the digests of names, in buckets. Where those of a bucket differ, its names have to
    be compared: they are others, or one came twice."""

    def __init__(self) -> None:
        self._sums = [0] * _BUCKETS

    def add(self, name: str) -> None:
        digest = _digest(name)
        self._sums[digest % _BUCKETS] += digest

    def bucket_of(self, name: str) -> int:
        return _digest(name) % _BUCKETS

    def find_differing(self, other: NameSums) -> set[int]:
        """The buckets that have other names here than there."""
        pairs = zip(self._sums, other._sums, strict=True)
        return {bucket for bucket, (own, others) in enumerate(pairs) if own != others}


def _digest(name: str) -> int:
    data = name.encode(errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=16, key=_SALT).digest(), "little")
