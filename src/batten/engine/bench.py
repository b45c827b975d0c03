"""A worker's bench: runs the steps over a chunk, stages the result, seals batches.

The same bench serves in a process, in a thread and in the driver itself. It writes to `staging/`
and `staged/` only; publishing is the driver's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from threading import local
from time import perf_counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batten.engine.arrays import integers
from batten.engine.calls import Failure
from batten.engine.items import Done, ItemRunner
from batten.engine.pieces import (
    Piece,
    cut_pieces,
    cut_rows,
    drop_failures,
    encode_piece,
    load_piece,
)
from batten.engine.plan import Plan, PlanBatch
from batten.engine.python_types import find_declared
from batten.engine.rows import ITEM
from batten.engine.seal import PinRefusedError, SealedBytes, seal_pieces
from batten.engine.step import Step
from batten.engine.streak import tell_ended
from batten.engine.tasks import (
    Answer,
    Prepare,
    Prepared,
    Reopen,
    Reopened,
    Seal,
    Sealed,
    Task,
    Unsealable,
)
from batten.errors import CorruptError
from batten.executors.base import Mark
from batten.model.commands import command
from batten.model.footer import decode_part
from batten.model.names import Layout, StagedChunk
from batten.model.outcomes import decode_outcomes
from batten.model.records import PartDescription, Unreadable
from batten.model.value_class import value_class
from batten.model.words import Outcome
from batten.sources.base import Source
from batten.storage.base import Storage
from batten.storage.publishing import fresh_name

CHUNK_SECONDS = 0.25
"""After so much work a worker puts aside what it has, so that no kill costs more."""


@value_class
class WorkerJob:
    """What all workers share: where things lie, what to do, and the fingerprints. `work` is
    that of what makes rows, and `works` are those whose chunks are of use; `fingerprint` also
    covers how they are laid out."""

    storage: Storage
    layout: Layout
    plan: Plan
    source: Source
    steps: Sequence[Step]
    key_column: str
    fingerprint: str
    work: str
    works: tuple[str, ...]
    has_time_limit: bool
    keeps_failures: bool
    seed: int | None = None
    worker_items_max: int | None = None


class MisfitsError(Exception):
    """Items that are only now found to have failed; never leaves the bench."""

    def __init__(self, misfits: Sequence[Failure]) -> None:
        super().__init__()
        self.misfits = list(misfits)


class Bench:
    """One for all workers; each has its own reader, its own constructed classes."""

    def __init__(self, job: WorkerJob) -> None:
        self._job = job
        self._own = local()

    def work(self, task: Task, mark: Mark) -> Answer:
        match task:
            case Prepare():
                return self._prepare(task, mark)
            case Seal():
                return self._seal(task)
            case Reopen():
                return self._reopen(task)

    def _prepare(self, task: Prepare, mark: Mark) -> Prepared:
        began = perf_counter()
        batch = self._job.plan.batch(task.batch)
        schema = self.read_schema(task.schema)
        if task.condemned is not None:
            done = Done(start=task.start, stop=task.stop, failures=[task.condemned])
        else:
            done = self._run(task, batch, mark, schema)
        executed = 0 if task.condemned is not None else done.stop - done.start
        failures = done.failures
        ended = tell_ended(range(done.start, done.stop), failures)
        if failures and not self._job.keeps_failures:
            done = _before(done, failures[0].item)
        sealed: Sealed | None = None
        if done.start == 0 and done.stop == batch.items and (schema is not None or task.may_pin):
            try:
                sealed = self._store_sealed(batch, _cut(done), schema, is_reopened=task.is_reopened)
            except MisfitsError as error:
                failures = error.misfits
                done = _before(done, failures[0].item)
        chunks: tuple[StagedChunk, ...] = ()
        if sealed is None and done.stop > done.start:
            chunks = tuple(self.store_piece(batch, piece) for piece in _cut(done))
        if done.error is not None:
            # The run ends; the next one adopts what is staged.
            raise done.error
        return Prepared(
            batch=task.batch,
            start=done.start,
            stop=done.stop,
            chunks=chunks,
            sealed=sealed,
            executed=executed,
            failures=len(failures),
            first_failure=failures[0] if failures else None,
            ended=ended,
            seconds=perf_counter() - began,
        )

    def _run(self, task: Prepare, batch: PlanBatch, mark: Mark, schema: pa.Schema | None) -> Done:
        own = self._own
        if not hasattr(own, "runner"):
            own.reader = self._job.source.open()
            own.items = 0
            job = self._job
            own.runner = ItemRunner(job.steps, job.key_column, job.has_time_limit, job.seed)
        runner: ItemRunner = own.runner
        stop, most = task.stop, self._job.worker_items_max
        if most is not None and not runner.takes_units:
            stop = min(stop, task.start + most - own.items)
        wanted = self._job.plan.wanted(batch, task.start, stop)
        keys: Sequence[Any]
        if wanted.keys is not None:
            keys = wanted.keys
        else:
            keys = range(wanted.first_ordinal, wanted.first_ordinal + wanted.count)
        done = runner.run(
            own.reader.read(wanted),
            keys,
            task.start,
            batch.first_item,
            mark,
            schema,
            CHUNK_SECONDS,
            task.is_apart,
        )
        own.items += done.stop - done.start
        if most is not None and own.items >= most:
            mark.retire()
        return done

    def _seal(self, task: Seal) -> Sealed | Unsealable:
        job = self._job
        batch = job.plan.batch(task.batch)
        pieces: list[Piece] = []
        damaged = []
        for chunk in task.chunks:
            piece = load_piece(job.storage, job.layout, chunk, job.works)
            if piece is None:
                damaged.append(chunk)
            else:
                pieces.append(piece)
        if damaged:
            return Unsealable(batch=task.batch, damaged=tuple(damaged))
        try:
            schema = self.read_schema(task.schema)
            sealed = self._store_sealed(batch, pieces, schema, is_reopened=task.is_reopened)
        except MisfitsError as error:
            items = [misfit.item for misfit in error.misfits]
            spoiled = tuple(
                chunk
                for chunk in task.chunks
                if any(start <= item < stop for start, stop in chunk.ranges() for item in items)
            )
            for chunk in spoiled:
                job.storage.delete(job.layout.staged_chunk(chunk))
            return Unsealable(batch=task.batch, damaged=spoiled, misfit=error.misfits[0])
        return sealed or Unsealable(batch=task.batch, is_rowless=True)

    def _store_sealed(
        self,
        batch: PlanBatch,
        pieces: Sequence[Piece],
        schema: pa.Schema | None,
        *,
        is_reopened: bool,
    ) -> Sealed | None:
        """The batch, sealed and staged; None where it has no rows that could pin the schema.
        Raises `MisfitsError` for items that do not fit, where failures are not kept."""
        job = self._job
        try:
            made = seal_pieces(
                batch,
                pieces,
                schema,
                job.plan,
                job.key_column,
                job.fingerprint,
                find_declared(job.steps) if schema is None else {},
            )
        except PinRefusedError:
            for piece in pieces:
                self.store_piece(batch, piece)
            raise
        if made is None:
            return None
        if made.misfits and not job.keeps_failures:
            raise MisfitsError(made.misfits)
        quarantine_digest = ""
        if made.quarantine is not None:
            quarantine_digest = self._store_file(batch, "quarantine", made.quarantine)
        part, fingerprint = made.part, made.description.fingerprint
        if is_reopened and (kept := self._find_kept(batch, made)) is not None:
            part, fingerprint = kept
        digest = self._store_file(batch, "sealed", part)
        return Sealed(
            batch=batch.number,
            items=batch.items,
            rows=made.description.rows,
            outcomes=made.description.outcomes,
            keys=made.description.keys,
            fingerprint=fingerprint,
            size=part.size,
            digest=digest,
            quarantine_digest=quarantine_digest,
            schema=made.pinned.serialize().to_pybytes() if made.pinned is not None else None,
            first_misfit=made.misfits[0] if made.misfits else None,
        )

    def _find_kept(self, batch: PlanBatch, made: SealedBytes) -> tuple[pa.Buffer, str] | None:
        """The part that is published and its fingerprint, where no outcome is another: then its
        rows are the same, and those of destinations, which know it by its digest, stay theirs."""
        try:
            data = self._job.storage.read(self._job.layout.part(batch.number), bytes_max=None)
            described = decode_part(data)
        except (FileNotFoundError, Unreadable):
            return None
        is_same = described.outcomes == made.description.outcomes
        return (pa.py_buffer(data), described.fingerprint) if is_same else None

    def _store_file(self, batch: PlanBatch, kind: str, data: pa.Buffer) -> str:
        digest = hashlib.sha256(memoryview(data)).hexdigest()
        name = self._job.layout.staged_file(batch.number, kind, digest)
        self._stage(name, memoryview(data), is_synced=True)
        return digest

    def store_piece(
        self, batch: PlanBatch, piece: Piece, *, is_synced: bool = False
    ) -> StagedChunk:
        data, chunk = encode_piece(piece, batch.number, self._job.work)
        self._stage(self._job.layout.staged_chunk(chunk), memoryview(data), is_synced=is_synced)
        return chunk

    def without_failures(self, batch: PlanBatch, chunk: StagedChunk) -> list[StagedChunk]:
        """The chunk, where nothing in it failed, or chunks of what did not fail in its place."""
        job = self._job
        piece = load_piece(job.storage, job.layout, chunk, job.works)
        if piece is None or not piece.failures:
            return [chunk]
        kept = [
            self.store_piece(batch, each, is_synced=True) for each in drop_failures(chunk, piece)
        ]
        job.storage.sync_names(job.layout.staged)
        job.storage.delete(job.layout.staged_chunk(chunk))
        return kept

    def _stage(self, name: str, data: memoryview, *, is_synced: bool) -> None:
        """Put a whole file into `staged/`. One of that name was made from the same bytes."""
        storage = self._job.storage
        throwaway = fresh_name(self._job.layout.staging, name.rpartition("/")[2])
        storage.stage(throwaway, data, is_synced=is_synced)
        if not storage.publish(throwaway, name):
            storage.replace(throwaway, name)
        else:
            storage.delete(throwaway)

    def _reopen(self, task: Reopen) -> Reopened:
        described, data = self._load_published(task.batch)
        batch = self._job.plan.batch(task.batch)
        again = []
        chunks = []
        start = 0
        for outcome, run in groupby(decode_outcomes(described.outcomes), _is_quarantined):
            stop = start + sum(1 for _ in run)
            if outcome:
                again.append((start, stop))
            else:
                chunks.append(self.store_piece(batch, cut_rows(data, start, stop)))
            start = stop
        return Reopened(batch=task.batch, chunks=tuple(chunks), again=tuple(again))

    def reject(self, number: int, rejected: Sequence[Failure]) -> Reopened:
        """Stage a published batch again, with these items quarantined besides those that are."""
        _, data = self._load_published(number)
        batch = self._job.plan.batch(number)
        failed = {failure.item for failure in rejected}
        items = data.column(ITEM).to_pylist()
        kept = data.filter(pa.array([item not in failed for item in items], pa.bool_()))
        known = [each for each in self._load_failures(number) if each.item not in failed]
        failures = sorted([*known, *rejected], key=lambda failure: failure.item)
        piece = replace(cut_rows(kept, 0, batch.items), failures=tuple(failures))
        return Reopened(batch=number, chunks=(self.store_piece(batch, piece),), again=())

    def _load_published(self, number: int) -> tuple[PartDescription, pa.Table]:
        """What the part of a batch says of itself, and its rows with the numbers of their items."""
        job = self._job
        batch = job.plan.batch(number)
        name = job.layout.part(number)
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

    def read_schema(self, serialized: bytes | None) -> pa.Schema | None:
        if serialized is None:
            return None
        if getattr(self._own, "serialized", None) != serialized:
            self._own.serialized = serialized
            self._own.schema = pa.ipc.read_schema(pa.py_buffer(serialized))
        schema: pa.Schema = self._own.schema
        return schema


def _is_quarantined(outcome: Outcome) -> bool:
    return outcome is Outcome.QUARANTINED


def _cut(done: Done) -> list[Piece]:
    return cut_pieces(done.start, done.stop, done.tables, done.failures)


def _before(done: Done, stop: int) -> Done:
    """What comes before an item that failed. It stays to be done, and the run ends on it."""
    kept = []
    for table in done.tables:
        items = table.column(ITEM).to_pylist()
        rows = sum(1 for item in items if item < stop)
        if rows:
            kept.append(table.slice(0, rows))
    return Done(start=done.start, stop=stop, tables=kept, error=done.error)
