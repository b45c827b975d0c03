"""What an earlier run had staged and did not come to publish, and which of it this one takes over.

All lies in one folder: chunks, and sealed batches. Their names say everything (decision 0005).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from batten.ledger.facts.batches.part_footers import describe_part
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.names import Layout
from batten.model.disk.outcomes import count_outcomes
from batten.model.disk.records import Unreadable
from batten.model.disk.staged_names import StagedChunk, StagedFile, find_staged
from batten.model.words import Outcome
from batten.plan.plan import Plan, PlanBatch
from batten.run.context import Context
from batten.run.found.changed_job import list_fingerprints
from batten.run.found.found_dataset import FoundDataset
from batten.storage.base import Entry, Store
from batten.storage.digests import digest_file
from batten.work.bench import Bench
from batten.work.tasks import Sealed


class StagedBefore:
    """The staged files of one dataset, by batch. With `leaves_failures_out` what failed is not
    taken over, and is to be tried again. `adopted` are the batches of which there was something.

    Without a `schema` none was pinned, so no batch can be sealed for good."""

    def __init__(
        self,
        context: Context,
        dataset: FoundDataset,
        plan: Plan,
        bench: Bench,
        schema: bytes | None,
    ) -> None:
        self._storage, self._layout = context.storage, context.layout
        self._plan = plan
        self._bench = bench
        self._schema = schema
        self._fingerprints = list_fingerprints(context, dataset.fingerprint)
        self._staged = sort_staged(self._layout, dataset.observation.staged)
        self.leaves_failures_out = False
        self.adopted: set[int] = set()

    def find(self, batch: int) -> tuple[list[StagedChunk], Sealed | None]:
        """What is staged of the batch: chunks, and all of it sealed, perhaps."""
        files = self._staged.get(batch, [])
        chunks = [file for file in files if isinstance(file, StagedChunk)]
        sealed = None
        if self._schema is not None:
            found = [file for file in files if isinstance(file, StagedFile)]
            planned = self._plan.batch(batch)
            sealed = find_sealed(
                self._storage,
                self._layout,
                planned,
                found,
                self._fingerprints,
                self._plan.revision(planned),
            )
            if sealed is not None and not self._bench.staging.has_files(sealed, planned):
                sealed = None
        if self.leaves_failures_out:
            chunks, sealed = self._leave_failures_out(batch, chunks, sealed)
        if sealed is not None or chunks:
            self.adopted.add(batch)
        return chunks, sealed

    def clear_failures(self, schema: bytes | None) -> None:
        """Take failed items out of all that is staged now, since they are to be tried again.
        Whoever counts what lies there counts finished items."""
        self._schema, self.leaves_failures_out = schema, True
        self._staged = sort_staged(self._layout, self._storage.list(self._layout.staged))
        for batch in self._staged:
            self.find(batch)

    def take_leftovers(self, batch: int) -> list[str]:
        """The names of all that was staged for the batch. It is of no use once the batch is
        published."""
        return [
            self._layout.staged_chunk(file)
            if isinstance(file, StagedChunk)
            else self._layout.staged_file(file.batch, file.kind, file.digest)
            for file in self._staged.pop(batch, [])
        ]

    def _leave_failures_out(
        self, batch: int, chunks: list[StagedChunk], sealed: Sealed | None
    ) -> tuple[list[StagedChunk], Sealed | None]:
        planned, bench = self._plan.batch(batch), self._bench
        schema = bench.read_schema(self._schema)
        kept = [
            each
            for chunk in chunks
            for each in bench.staging.without_failures(planned, chunk, schema)
        ]
        if sealed is not None and sealed.quarantine_digest:
            return [*kept, *bench.reopening.keep_finished(sealed)], None
        return kept, sealed


StagedName = StagedChunk | StagedFile


def sort_staged(layout: Layout, entries: Iterable[Entry]) -> dict[int, list[StagedName]]:
    """The files by batch."""
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
            described = describe_part(storage, name)
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
            described=described,
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
