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
    """Names one thing to publish: a batch of a dataset, or all of its rows.

    Attributes:
        dataset: The name of the rows at the destination.
        batch: The number of the batch; None for all rows.
        digest: Stands for the content.
        fingerprint: Stands for what made it.
        key: The key of the only item, if the destination takes items one at a time; otherwise
            empty.
    """

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


def combine_states(states: Iterable[TokenState]) -> TokenState:
    """What a destination has of what several tokens stand for together: it is there if all are."""
    found = set(states)
    return found.pop() if len(found) == 1 else TokenState.OTHER


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
