"""What stands for the content of a dataset: the digests in its commit records."""

from __future__ import annotations

from batten.errors import CorruptError
from batten.model.disk.destinations.tokens import digest_of_all
from batten.model.disk.names import Layout
from batten.model.disk.published import Published, decode_published
from batten.model.disk.records import Unreadable
from batten.model.telling.commands import command
from batten.storage.base import Store


def load_commit(
    storage: Store, layout: Layout, batch: int, path: str, *, is_reopened: bool = False
) -> Published:
    """The commit record of a published batch, or the marker that it became when the batch was taken
    up again; `path` is the output, for messages."""
    name = layout.recomputed(batch) if is_reopened else layout.commit(batch)
    try:
        return decode_published(storage.read(name))
    except (FileNotFoundError, Unreadable) as error:
        raise CorruptError(
            f"{name} can't be read: {error}.",
            safe="Nothing was changed.",
            next=f"See what else is damaged: {command('verify', path)}",
        ) from error


def digest_contents(storage: Store, layout: Layout, batches: int, path: str) -> str:
    """Stands for the bytes of the first so many parts."""
    records = (load_commit(storage, layout, batch, path) for batch in range(batches))
    return digest_of_all(str(record.digest) for record in records)
