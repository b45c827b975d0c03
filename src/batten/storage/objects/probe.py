"""Whether a store keeps conditions: some answer as if they held, and lose rows (decision 0107)."""

from __future__ import annotations

import os

from batten.errors import StorageError
from batten.storage.base import Put, Store
from batten.storage.changing.publishing import settle

PROBE_NAME = ".batten-probe"
"""Its objects have names that begin so. Who is killed while it tries the store leaves one."""


def probe(store: Store) -> None:
    """Put something once, again with other bytes, and in the place of a version that is not there.

    Raises `StorageError` where the second or the third is done."""
    nonce = os.urandom(8).hex()
    name = f"{PROBE_NAME}-{nonce}"
    # Where the first answer is lost, the client's own repetition finds what it made.
    first = settle(store, lambda: store.put_new(name, nonce.encode()))
    try:
        kept = store.put_new(name, b"created twice").put is Put.OTHER
        kept = kept and store.put_if(name, b"replaced", _differing(first.version)).put is Put.OTHER
    finally:
        found = store.find(name)
        if found is not None:
            store.delete_if(name, found.version)
    if not kept:
        raise StorageError(
            f"{store.place} does not keep the conditions of requests: what is written only if "
            "nothing is there was written over something.",
            safe="Nothing but an object of this test was written, and it was deleted.",
            next="Use a store that keeps If-None-Match and If-Match, or write to a local folder.",
        )


def _differing(version: str) -> str:
    """A version that is of the same form, and of nothing that is there."""
    turned = {"0": "1", "a": "b"}
    return "".join(turned.get(each, "0" if each.isalnum() else each) for each in version)
