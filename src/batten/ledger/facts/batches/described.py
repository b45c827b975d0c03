"""Which files of a store without a lock belong to what is there: those that bear it in their names.

Others may be there as well, of parts that were replaced since. They mean nothing any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from batten.ledger.facts.batches.held_claims import Claims, list_unsummed
from batten.ledger.facts.batches.listed_parts import PartSizes
from batten.model.disk.names import Layout, find_described
from batten.model.disk.rolled import RolledUp
from batten.storage.relative import last_piece


def find_recorded(
    layout: Layout,
    names: Collection[str],
    versions: Mapping[int, str],
    rolled: Collection[int],
    sums: Mapping[int, RolledUp],
) -> frozenset[int]:
    """The batches whose part of now has a record; and those that have a record, and no part. Of
    those that are `rolled` up that is known; of those that are summed nothing is told."""
    known = set(names)
    recorded = {
        batch
        for batch in list_unsummed(versions, sums)
        if batch in rolled or last_piece(layout.commit(batch, versions[batch])) in known
    }
    numbers = (find_described(name, "json") for name in known)
    lost = {number for number in numbers if number is not None and number not in versions}
    return frozenset(recorded | lost)


def find_quarantined(
    layout: Layout, sizes: Mapping[str, int], claims: Claims, parts: PartSizes
) -> dict[int, int]:
    """Sizes in bytes of the quarantine files of the parts of now, by batch. Where a part has no
    record its digest is not known, and any file of its batch stands for it."""
    failed = claims.list_failed_of_sums()
    found = {}
    for name, size in sizes.items():
        batch = find_described(last_piece(name), "parquet")
        if batch is None or batch not in parts:
            continue
        if batch in claims.single:
            digest = claims.single[batch].digest
        elif batch in failed:
            digest = failed[batch]
        else:
            continue
        if not digest or name == layout.quarantined(batch, digest):
            found[batch] = size
    return found
