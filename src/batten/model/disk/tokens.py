"""What a destination keeps beside the rows it was given: a token.

The token comes in the same atomic step as the rows, so that the destination can be asked later
whether it has them (decisions 0020, 0023).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import Enum

from batten.model.value_class import value_class


@value_class
class Token:
    """Names one thing to publish: of a dataset a batch, or with `batch` None all of its rows.
    `digest` stands for the content, and `fingerprint` for what made it. `key` is the key of the
    only item, if the destination takes items one at a time."""

    dataset: str
    batch: int | None
    digest: str
    fingerprint: str = ""
    key: str = ""


class TokenState(Enum):
    """What a destination has of a token."""

    ABSENT = "nothing"
    SAME = "it"
    OTHER = "other content under its name"


class PublishEnd(Enum):
    """How an attempt to publish ended."""

    COMMITTED = "committed"
    LOST_RACE = "another was first"
    UNKNOWN = "no answer came"


def digest_of_all(digests: Iterable[str]) -> str:
    """Stands for the content of a whole dataset: the digests of its parts, in order."""
    digest = hashlib.sha256()
    for batch, each in enumerate(digests):
        digest.update(f"{batch}:{each}\n".encode())
    return f"sha256:{digest.hexdigest()}"
