"""Digests of the keys of a batch, so that accounts close by key and not only by count."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def describe_ordinals(start: int, stop: int) -> str:
    """Stands for the keys `start` to `stop` (exclusive) of a source whose keys are ordinals."""
    return f"ordinals:{start}-{stop}"


def describe_keys(keys: Iterable[str]) -> str:
    """Stands for these keys in this order. Each is hashed with its length, so that no two
    different sequences give the same bytes."""
    digest = hashlib.sha256()
    for key in keys:
        encoded = key.encode()
        digest.update(b"%d:" % len(encoded))
        digest.update(encoded)
    return f"sha256:{digest.hexdigest()}"
