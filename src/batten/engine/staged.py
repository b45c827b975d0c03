"""Sealed batches that an earlier run staged and did not come to publish."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from batten.engine.plan import PlanBatch
from batten.engine.tasks import Sealed
from batten.model.footer import decode_part
from batten.model.names import Layout, StagedFile
from batten.model.outcomes import count_outcomes
from batten.model.records import Unreadable
from batten.model.words import Outcome
from batten.storage.base import Storage


def find_sealed(
    storage: Storage,
    layout: Layout,
    batch: PlanBatch,
    files: Sequence[StagedFile],
    fingerprints: Collection[str],
) -> Sealed | None:
    """The sealed batch among the staged files, whole, of this plan and one of the fingerprints."""
    quarantines = [file for file in files if file.kind == "quarantine"]
    for file in files:
        if file.kind != "sealed":
            continue
        data = _read_whole(storage, layout, file)
        if data is None:
            continue
        try:
            described = decode_part(data)
        except Unreadable:
            continue
        if described.keys != batch.keys_description or described.fingerprint not in fingerprints:
            continue
        quarantine_digest = ""
        if count_outcomes(described.outcomes)[Outcome.QUARANTINED]:
            whole = [_read_whole(storage, layout, each) for each in quarantines]
            found = [each for each in whole if each is not None]
            if len(found) != 1:
                continue
            quarantine_digest = hashlib.sha256(found[0]).hexdigest()
        return Sealed(
            batch=described.batch,
            items=described.items,
            rows=described.rows,
            outcomes=described.outcomes,
            keys=described.keys,
            size=len(data),
            digest=hashlib.sha256(data).hexdigest(),
            quarantine_digest=quarantine_digest,
            schema=None,
        )
    return None


def _read_whole(storage: Storage, layout: Layout, file: StagedFile) -> bytes | None:
    """The bytes, or None where they are not those that the name promises."""
    try:
        data = storage.read(layout.staged_file(file.batch, file.kind, file.digest), bytes_max=None)
    except FileNotFoundError:
        return None
    return data if hashlib.sha256(data).hexdigest().startswith(file.digest) else None
