"""What lies in `staged/`: chunks, and sealed batches that a run did not come to publish.

All lie in one folder, and their names say everything (decision 0005).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from batten.ledger.facts.part_footers import published_by_footer_of
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.names import Layout, StagedChunk, StagedFile, find_staged
from batten.model.disk.published import fields_of
from batten.model.disk.records import Unreadable
from batten.model.rules.outcomes import count_outcomes
from batten.model.words import Outcome
from batten.plan.plan import PlanBatch
from batten.storage.base import Entry, Store
from batten.storage.digests import digest_file
from batten.work.tasks import Sealed

StagedName = StagedChunk | StagedFile


def sort_staged(layout: Layout, entries: Iterable[Entry]) -> dict[int, list[StagedName]]:
    """StagedName files by batch."""
    start = len(layout.staged) + 1
    by_batch: dict[int, list[StagedName]] = defaultdict(list)
    for entry in entries:
        found = find_staged(entry.name[start:])
        if found is not None:
            by_batch[found.batch].append(found)
    return dict(by_batch)


def find_sealed(
    storage: Store,
    layout: Layout,
    batch: PlanBatch,
    files: Sequence[StagedFile],
    fingerprints: Collection[str],
    revision: int,
) -> Sealed | None:
    """The sealed batch among the staged files, whole, of this plan and one of the fingerprints,
    of the versions of now."""
    quarantines = [file for file in files if file.kind == "quarantine"]
    for file in files:
        if file.kind != "sealed":
            continue
        name = layout.staged_file(file.batch, file.kind, file.digest)
        try:
            described = published_by_footer_of(storage, name)
        except (Unreadable, FileNotFoundError):
            continue
        is_planned = (described.keys, described.revision) == (batch.keys_description, revision)
        if not is_planned or described.fingerprint not in fingerprints:
            continue
        entry, digest = storage.find(name), _digest_whole(storage, layout, file)
        if entry is None or digest is None:
            continue
        quarantine_digest = ""
        if count_outcomes(described.outcomes)[Outcome.QUARANTINED]:
            whole = [_digest_whole(storage, layout, each) for each in quarantines]
            found = [each for each in whole if each is not None]
            if len(found) != 1:
                continue
            quarantine_digest = found[0]
        return Sealed(
            **fields_of(described),
            size=entry.size,
            digest=digest,
            quarantine_digest=quarantine_digest,
            schema=None,
        )
    return None


def _digest_whole(storage: Store, layout: Layout, file: StagedFile) -> str | None:
    """The digest, or None if the name promises another."""
    name = layout.staged_file(file.batch, file.kind, file.digest)
    entry = storage.find(name)
    if entry is None:
        return None
    if file.kind == "quarantine" and entry.size > RECORD_BYTES_MAX["quarantine"]:
        return None
    try:
        digest = digest_file(storage, name)
    except FileNotFoundError:
        return None
    return digest if digest.startswith(file.digest) else None
