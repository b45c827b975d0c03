"""Takes sealed batches apart again.

Their finished items stay. The others are to be done again, or were rejected.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq

from batten.errors import CorruptError
from batten.model.disk.footer import decode_part
from batten.model.disk.names import StagedChunk
from batten.model.disk.records import PartDescription, Unreadable
from batten.model.rules.outcomes import decode_outcomes
from batten.model.telling.commands import command
from batten.model.words import Outcome
from batten.plan.plan import PlanBatch
from batten.rows.arrays import integers
from batten.rows.rows import ITEM
from batten.work.calls import Failure
from batten.work.chunks import cut_rows
from batten.work.seal import SealedBytes
from batten.work.staging import Staging
from batten.work.streak import tell_ended
from batten.work.tasks import Reopened, Sealed, WorkerJob


class Reopening:
    """The sealed batches of one dataset, published or staged."""

    def __init__(self, job: WorkerJob, staging: Staging) -> None:
        self._job = job
        self._staging = staging

    def reopen(self, number: int, but: Collection[int] = ()) -> Reopened:
        """Stage the finished items of a published batch as chunks again, but for those."""
        return self._take_apart(number, self._job.layout.part(number), but)

    def keep_finished(self, sealed: Sealed) -> list[StagedChunk]:
        """Chunks of the finished items, in the place of a sealed batch that is not published."""
        storage, layout = self._job.storage, self._job.layout
        part = layout.staged_file(sealed.batch, "sealed", sealed.digest)
        chunks = self._take_apart(sealed.batch, part, is_synced=True).chunks
        storage.sync_names(layout.staged)
        storage.delete(part)
        storage.delete(layout.staged_file(sealed.batch, "quarantine", sealed.quarantine_digest))
        return list(chunks)

    def reject(self, number: int, rejected: Sequence[Failure]) -> Reopened:
        """Stage a published batch again, with these items quarantined besides those that are."""
        batch = self._job.plan.batch(number)
        _, data = self._load_part(number, self._job.layout.part(number))
        failed = {failure.item for failure in rejected}
        items = data.column(ITEM).to_pylist()
        kept = data.filter(pa.array([item not in failed for item in items], pa.bool_()))
        known = [each for each in self._load_failures(number) if each.item not in failed]
        failures = sorted([*known, *rejected], key=lambda failure: failure.item)
        piece = replace(cut_rows(kept, 0, batch.items), failures=tuple(failures))
        return Reopened(
            batch=number,
            chunks=(self._staging.store_piece(batch, piece),),
            again=(),
            ended=tell_ended(range(batch.items), failures),
        )

    def find_kept(self, batch: PlanBatch, made: SealedBytes) -> tuple[pa.Buffer, str] | None:
        """The part that is published and its fingerprint, where no outcome is another: then its
        rows are the same, and those of destinations, which know it by its digest, stay theirs."""
        try:
            data = self._job.storage.read(self._job.layout.part(batch.number), bytes_max=None)
            described = decode_part(data)
        except (FileNotFoundError, Unreadable):
            return None
        is_same = described.outcomes == made.description.outcomes
        return (pa.py_buffer(data), described.fingerprint) if is_same else None

    def _take_apart(
        self, number: int, part: str, but: Collection[int] = (), *, is_synced: bool = False
    ) -> Reopened:
        described, data = self._load_part(number, part)
        batch = self._job.plan.batch(number)
        again: list[tuple[int, int]] = []
        chunks: list[StagedChunk] = []
        start = 0
        failed = [
            outcome is Outcome.QUARANTINED or item in but
            for item, outcome in enumerate(decode_outcomes(described.outcomes))
        ]
        for has_failed, run in groupby(failed):
            stop = start + sum(1 for _ in run)
            if has_failed:
                again.append((start, stop))
            else:
                piece = cut_rows(data, start, stop)
                chunks.append(self._staging.store_piece(batch, piece, is_synced=is_synced))
            start = stop
        return Reopened(batch=number, chunks=tuple(chunks), again=tuple(again))

    def _load_part(self, number: int, name: str) -> tuple[PartDescription, pa.Table]:
        """What the part of a batch says of itself, and its rows with the numbers of their items."""
        job = self._job
        batch = job.plan.batch(number)
        try:
            data = job.storage.read(name, bytes_max=None)
            table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
            described = decode_part(data)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise self._unreadable(name, error) from error
        rows = table.drop_columns([job.key_column]).replace_schema_metadata(None)
        numbers = {key: n for n, key in enumerate(job.plan.key_column(batch).to_pylist())}
        items = [numbers[key] for key in table.column(job.key_column).to_pylist()]
        return described, rows.append_column(ITEM, integers(items))

    def _load_failures(self, number: int) -> list[Failure]:
        """Those that are quarantined of a published batch."""
        name = self._job.layout.quarantined(number)
        try:
            data = self._job.storage.read(name, bytes_max=None)
            rows = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False).to_pylist()
            return [
                Failure(
                    item=row["item"],
                    error=row["error"],
                    trace=row["traceback"],
                    attempts=row["attempts"],
                )
                for row in rows
            ]
        except FileNotFoundError:
            return []
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: Exception) -> CorruptError:
        place = f"{self._job.storage.place}/{self._job.layout.output}"
        return CorruptError(
            f"{name} can't be read: {error}.",
            safe="Nothing was changed.",
            next=f"See what else is damaged: {command('verify', place)}",
        )
