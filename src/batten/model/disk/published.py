"""What is known of a published batch, from its commit record or from its own footer."""

from __future__ import annotations

import re
from sys import intern
from typing import Any, NamedTuple

from batten.model.disk.items.slowest import SLOWEST_PATTERN
from batten.model.disk.records import (
    CommitRecord,
    PartDescription,
    decode_record,
    open_record,
    refuse_large,
)
from batten.model.words import FORMAT_OF_OUTCOMES


class Published(NamedTuple):
    """A published batch. What only a record knows (`size`, `digest`, `quarantine_digest`) is None
    if there is none; then `slowest` is empty."""

    batch: int
    items: int
    rows: int
    outcomes: str
    keys: str
    fingerprint: str
    size: int | None
    digest: str | None
    quarantine_digest: str | None
    revision: int = 0
    widens: str = ""
    slowest: str = ""


_SAID = (*Published._fields[:6], "revision", "widens")
"""The fields that the batch's part itself says."""

_NUMBER = r"(\d{1,15})"
_BATCH = r"(\d{1,7})"
_DIGEST = r'"([0-9a-f]{64})"'
_MAYBE_DIGEST = r'"([0-9a-f]{64}|)"'
_KEYS = r'"(sha256:[0-9a-f]{64}|ordinals:\d{1,16}-\d{1,16}|)"'
_OUTCOMES = r'"((?:\d{1,16}[cfqra])*)"'
_TEXT = r'"([^"\\]*)"'
_DIGESTS = r'"((?:[0-9a-f]{64}(?:,(?!"))?)*)"'
_UNUSED_TEXT = r'"[^"\\]*"'
_CANONICAL = re.compile(
    rf'\{{"batch": {_BATCH}, "items": {_NUMBER}, "rows": {_NUMBER}, "outcomes": {_OUTCOMES}, '
    rf'"keys": {_KEYS}, "fingerprint": {_TEXT}, "size": {_NUMBER}, "digest": {_DIGEST}, '
    rf'"quarantine_digest": {_MAYBE_DIGEST}, "run": {_UNUSED_TEXT}, "time": {_UNUSED_TEXT}, '
    rf'(?:"revision": {_NUMBER}, )?'
    rf'(?:"widens": {_DIGESTS}, )?(?:"slowest": "{SLOWEST_PATTERN}", )?'
    r'"format_version": [12]\}',
    re.ASCII,
)


def decode_published(data: bytes) -> Published:
    """The same as decoding a `CommitRecord`, and several times faster for one that batten wrote:
    an inspection reads ten thousand. Raises `Unreadable` or `NewerFormat`."""
    refuse_large(CommitRecord, data)
    body = open_record(data, FORMAT_OF_OUTCOMES)
    found = _CANONICAL.fullmatch(body.decode(errors="backslashreplace"))
    if found is None:
        return published_by_record(decode_record(CommitRecord, data))
    batch, items, rows, outcomes, keys, fingerprint, size, *rest = found.groups()
    digest, quarantine, revision, widens, slowest = rest
    return Published(
        int(batch),
        int(items),
        int(rows),
        # A million batches have the same few of these.
        intern(outcomes),
        keys,
        intern(fingerprint),
        int(size),
        digest,
        quarantine,
        int(revision or 0),
        widens or "",
        slowest or "",
    )


def fields_of(description: PartDescription) -> dict[str, Any]:
    """What a part says of its batch, for a record of it."""
    return {name: getattr(description, name) for name in _SAID}


def published_by_record(record: CommitRecord) -> Published:
    return Published(*(getattr(record, name) for name in Published._fields))


def published_by_footer(description: PartDescription) -> Published:
    return Published(**fields_of(description), size=None, digest=None, quarantine_digest=None)
