"""Which files of a store without a lock belong to what is there: those that bear it in their names.

Others may be there as well, of parts that were replaced since. They mean nothing any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from batten.model.disk.names import Layout, find_described
from batten.model.disk.published import Published
from batten.storage.relative import last_piece


def find_recorded(
    layout: Layout,
    names: Collection[str],
    versions: Mapping[int, str],
    rolled: Collection[int],
) -> frozenset[int]:
    """The batches whose part of now has a record; and those that have a record, and no part. Of
    those that are `rolled` up that is known."""
    known = set(names)
    recorded = {
        batch
        for batch, version in versions.items()
        if batch in rolled or last_piece(layout.commit(batch, version)) in known
    }
    numbers = (find_described(name, "json") for name in known)
    lost = {number for number in numbers if number is not None and number not in versions}
    return frozenset(recorded | lost)


def find_quarantined(
    layout: Layout,
    sizes: Mapping[str, int],
    claims: Mapping[int, Published],
    parts: Iterable[int],
) -> dict[int, int]:
    """Sizes in bytes of the quarantine files of the parts of now, by batch. Where a part has no
    record its digest is not known, and any file of its batch stands for it."""
    found = {}
    for batch in parts:
        claim = claims.get(batch)
        if claim is not None and claim.digest:
            name = layout.quarantined(batch, claim.digest)
            if name in sizes:
                found[batch] = sizes[name]
        elif claim is not None:
            for name, size in sizes.items():
                if find_described(last_piece(name), "parquet") == batch:
                    found[batch] = size
    return found
