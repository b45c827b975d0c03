"""The digest of a function as it is loaded in this process.

A source file can be edited while the process still runs what was there before. So the compiled code
counts as well as the source: what old code makes is never taken for what new code makes.
"""

from __future__ import annotations

import weakref
from types import FunctionType
from typing import Any

from batten.errors import UsageError
from batten.fingerprint.descriptions import combine
from batten.fingerprint.functions import describe_loaded
from batten.fingerprint.reads import Reads

_known: weakref.WeakKeyDictionary[Any, tuple[Reads, str]] = weakref.WeakKeyDictionary()


def digest_loaded(value: Any, *, version: str | None = None) -> str:
    """The SHA-256 of a function, or of any value that has content. It covers its code, the user's
    code that it reaches, and the values that this reads now. Raises `UsageError` if it depends
    on a value that has no content to compare, and no `version` stands for it.

    Of functions and classes it is remembered while nothing that they read has changed."""
    if type(value) not in (FunctionType, type) or version is not None:
        return _describe(value, version)[1]
    known = _known.get(value)
    if known is not None and known[0].are_unchanged():
        return known[1]
    reads, digest = _describe(value, None)
    if reads.is_lasting:
        _known[value] = (reads, digest)
    return digest


def _describe(value: Any, version: str | None) -> tuple[Reads, str]:
    try:
        description, reads = describe_loaded(value, version=version)
    except UsageError as error:
        raise UsageError(
            f"This can't be part of a key of the cache: {error.what}",
            safe="Nothing was cached.",
            next="Give what tells it apart instead, a path or a version for instance.",
        ) from error
    return reads, combine(description.parts, {}).digest
