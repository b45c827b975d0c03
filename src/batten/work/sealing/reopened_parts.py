"""Takes sealed parts apart again, so that rows of items that are tried again join them.

Finished items stay. The others are to be done again, or were rejected.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import pyarrow as pa

from batten.model.disk.footer import decode_part
from batten.model.disk.items.slowest import Slow
from batten.model.disk.names import Layout
from batten.model.disk.outcomes import find_places
from batten.model.disk.records import PartDescription, Unreadable
from batten.model.disk.staged_names import StagedChunk
from batten.model.rules.coverage import split_items
from batten.model.words import Outcome
from batten.plan.plan import PlanBatch
from batten.rows.arrays import booleans
from batten.rows.columns_of_rows import ITEM
from batten.storage.changing.publishing import delete, sync_names
from batten.work.calling.calls import Failure
from batten.work.calling.most_fail import tell_ended
from batten.work.sealing.seal import SealedBytes
from batten.work.sealing.sealed_rows import (
    SealedRows,
    load_failures,
    load_sealed,
    load_slowest,
    refuse_other_part,
)
from batten.work.staged.chunk_files import TakenOver, cut_rows
from batten.work.staged.staging import Staging
from batten.work.tasks import Reopened, Sealed, WorkerJob


class Reopening:
    """The sealed batches of one dataset, published or staged."""

    def __init__(self, job: WorkerJob, staging: Staging) -> None:
        self._job = job
        self._staging = staging

    def reopen(
        self, number: int, but: Collection[int] = (), *, tries_failed: bool = True
    ) -> Reopened:
        """Stage the finished items of a published batch as chunks again, but for those, and for
        those of which the plan has a later version. Failed ones are finished, unless it
        `tries_failed`."""
        return self._take_apart(
            number, self._job.layout.part(number), but, keeps_failed=not tries_failed
        )

    def take_over(self, number: int, earlier: Layout, *, tries_failed: bool) -> Reopened:
        """Stage the finished items of a batch of the dataset that this one is to replace. Raises
        `CorruptError` if its part is not what was published."""
        storage, batch = self._job.storage, self._job.plan.batch(number)
        sealed = load_sealed(
            storage, earlier, earlier.part(number), self._job.plan, batch, self._job.key_column
        )
        refuse_other_part(storage, earlier, number, sealed.digest)
        kept = () if tries_failed else load_failures(storage, earlier, batch, sealed)
        slowest = load_slowest(storage, earlier, number, sealed.digest)
        return self._stage_apart(
            batch, sealed, kept=kept, taken_over=sealed.taken_over, slowest=slowest
        )

    def keep_finished(self, sealed: Sealed) -> list[StagedChunk]:
        """Chunks of the finished items, in the place of a sealed batch that is not published."""
        storage, layout = self._job.storage, self._job.layout
        part = layout.staged_file(sealed.batch, "sealed", sealed.digest)
        chunks = self._take_apart(sealed.batch, part, is_synced=True).chunks
        sync_names(storage, [layout.staged])
        delete(storage, part)
        delete(storage, layout.staged_file(sealed.batch, "quarantine", sealed.quarantine_digest))
        return list(chunks)

    def reject(self, number: int, rejected: Sequence[Failure]) -> Reopened:
        """Stage a published batch again, with these items quarantined besides those that are."""
        batch = self._job.plan.batch(number)
        job = self._job
        sealed = self._load_part(number, job.layout.part(number))
        data = sealed.rows
        failed = {failure.item for failure in rejected}
        items = data.column(ITEM).to_pylist()
        kept = data.filter(booleans([item not in failed for item in items]))
        before = load_failures(job.storage, job.layout, batch, sealed)
        known = [each for each in before if each.item not in failed]
        failures = sorted([*known, *rejected], key=lambda failure: failure.item)
        piece = replace(
            cut_rows(kept, 0, batch.items),
            failures=tuple(failures),
            adopted=find_places(sealed.outcomes, Outcome.ADOPTED),
            slowest=load_slowest(job.storage, job.layout, number, sealed.digest),
        )
        return Reopened(
            batch=number,
            chunks=(self._staging.store_piece(batch, piece),),
            again=(),
            ended=tell_ended(range(batch.items), failures),
        )

    def find_kept(
        self, batch: PlanBatch, made: SealedBytes
    ) -> tuple[pa.Buffer, PartDescription] | None:
        """The published part, and what it says of itself: if no outcome and no version has changed,
        its rows are the same, unless a file of an item was lost and made again. Destinations know
        the part by its digest, so they keep theirs."""
        try:
            data = self._job.storage.read(self._job.layout.part(batch.number), bytes_max=None)
            described = decode_part(data)
        except (FileNotFoundError, Unreadable):
            return None
        is_same = (described.outcomes, described.revision) == (
            made.description.outcomes,
            made.description.revision,
        )
        if self._job.file_names is not None and is_same:
            from batten.ledger.files.part_rows import PartRows

            is_same = (
                PartRows(data).read_table().equals(PartRows(made.part.to_pybytes()).read_table())
            )
        return (pa.py_buffer(data), described) if is_same else None

    def _take_apart(
        self,
        number: int,
        part: str,
        but: Collection[int] = (),
        *,
        keeps_failed: bool = False,
        is_synced: bool = False,
    ) -> Reopened:
        sealed = self._load_part(number, part)
        batch = self._job.plan.batch(number)
        job = self._job
        kept = load_failures(job.storage, job.layout, batch, sealed) if keeps_failed else ()
        slowest = load_slowest(job.storage, job.layout, number, sealed.digest)
        return self._stage_apart(
            batch, sealed, but, kept=kept, is_synced=is_synced, slowest=slowest
        )

    def _stage_apart(
        self,
        batch: PlanBatch,
        sealed: SealedRows,
        but: Collection[int] = (),
        *,
        kept: Collection[Failure],
        is_synced: bool = False,
        taken_over: TakenOver | None = None,
        slowest: Sequence[Slow],
    ) -> Reopened:
        plan, outcomes = self._job.plan, sealed.outcomes
        adopted = find_places(outcomes, Outcome.ADOPTED)
        moved = plan.find_gone(batch) ^ find_places(outcomes, Outcome.REMOVED)  # decision 0098
        failures = {failure.item: failure for failure in kept}
        again = plan.find_outdated(batch, sealed.revision).union(moved, but)
        again |= self._staging.find_lacking(batch.number, sealed.rows)
        again |= find_places(outcomes, Outcome.QUARANTINED) - failures.keys()
        ranges, finished = split_items(again, batch.items)
        chunks: list[StagedChunk] = []
        for start, stop in finished:
            own = tuple(failures[item] for item in range(start, stop) if item in failures)
            piece = replace(
                cut_rows(sealed.rows, start, stop),
                failures=own,
                taken_over=taken_over,
                adopted=adopted.intersection(range(start, stop)),
                slowest=tuple(each for each in slowest if start <= each[0] < stop),
            )
            chunks.append(self._staging.store_piece(batch, piece, is_synced=is_synced))
        return Reopened(batch=batch.number, chunks=tuple(chunks), again=tuple(ranges))

    def _load_part(self, number: int, name: str) -> SealedRows:
        job = self._job
        batch = job.plan.batch(number)
        return load_sealed(job.storage, job.layout, name, job.plan, batch, job.key_column)
