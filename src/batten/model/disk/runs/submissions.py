"""Requests that were handed to a vendor's batch interface, as the ledger records them.

A vendor's batch is called a submission here: a batch is a range of the plan.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar

from batten.model.disk.bounds import ITEMS_MAX, RECORD_BYTES_MAX, Many, Name, Text, Version
from batten.model.patterns import pattern
from batten.model.value_class import value_class
from batten.model.words import FORMAT_VERSION

REQUESTS_MAX = 1_000_000

ENDED = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})
"""What a vendor says of a batch with which it will do nothing any more."""

_REQUEST = r"\d{1,16}-[0-9a-f]{24}-\d{1,6}"
_request = pattern(_REQUEST)

RequestName = Annotated[str, Text(64, _REQUEST)]


@value_class
class SubmissionRecord:
    """Requests that go to a vendor together: a record `submissions/<token>.json`. It is there
    before anything is asked of the vendor (decision 0134).

    Attributes:
        token: Its name, which goes with it: in the name of the file and in the batch's metadata.
        run: The run that made it.
        begun: When, in UTC.
        base_url: Where the vendor is, without secrets.
        endpoint: For which of the vendor's endpoints the requests are.
        requests: The name of each: the number of its item in the plan, a digest of what it asks,
            and how many of that item had asked the same before.
        file: What the vendor calls the file of the requests; empty while that is not known.
        is_asked: Whether the vendor may have been asked to begin the batch.
        batch: What the vendor calls the batch; empty while that is not known.
        status: What it last said of the batch.
        is_answered: Whether the answers lie beside this record, and are told to the accounts.
        why: What it said of a batch that failed as a whole.
        format_version: The version of the record's format.
    """

    token: Annotated[str, Text(24, "[0-9a-f]{24}")]
    run: Name
    begun: Name
    base_url: Name
    endpoint: Name
    requests: Annotated[list[RequestName], Many(REQUESTS_MAX)]
    file: Name = ""
    is_asked: bool = False
    batch: Name = ""
    status: Annotated[str, Text(64)] = ""
    is_answered: bool = False
    why: Annotated[str, Text(4000)] = ""
    format_version: Version = FORMAT_VERSION

    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["submission"]

    @property
    def file_name(self) -> str:
        """What batten calls the file of the requests."""
        return f"batten-{self.token}.jsonl"

    @property
    def has_ended(self) -> bool:
        """Whether the vendor will do nothing more with it."""
        return self.status in ENDED

    def list_items(self) -> set[int]:
        """The numbers, in the plan, of the items whose requests these are."""
        return {item_of_request(name) for name in self.requests}


def digest_request(body: bytes) -> str:
    """Stands for what a request asks."""
    return hashlib.sha256(body).hexdigest()[:24]


def name_request(item: int, digest: str, before: int) -> str:
    """The name of the request of an item that asks this, and asked the same so often before."""
    return f"{item}-{digest}-{before}"


def item_of_request(name: str) -> int:
    """The number of the item in the plan; raises `ValueError` for what is no such name."""
    if _request.fullmatch(name) is None:
        raise ValueError("no name of a request")
    number = int(name.partition("-")[0])
    if number > ITEMS_MAX:
        raise ValueError("no number of an item")
    return number
