"""A worker's bench: runs the steps over a chunk, stages the result, seals batches.

The same bench serves in a process, in a thread and in the driver itself. It writes to `staging/`
and `staged/` only; publishing is the driver's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import local
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batten.executors.base import Mark
from batten.executors.randomness import Seeding, seed_held
from batten.jobs.devices import Worker
from batten.model.disk.items.slowest import encode_slowest, merge_slowest
from batten.model.disk.staged_names import StagedChunk
from batten.plan.plan import PlanBatch
from batten.sources.base import read_planned
from batten.storage.changing.publishing import delete
from batten.work.calling.calls import Call, Failure, Outfit
from batten.work.calling.most_fail import tell_ended
from batten.work.item_runner import Done, ItemRunner
from batten.work.sealing.batch_checks import BatchRefusedError
from batten.work.sealing.reopened_parts import Reopening
from batten.work.sealing.seal import PinRefusedError, seal_pieces
from batten.work.staged.chunk_files import Piece
from batten.work.staged.piecing import make_pieces
from batten.work.staged.staging import Staging
from batten.work.staged.together import Together
from batten.work.tasks import (
    Answer,
    Prepare,
    Prepared,
    Reopen,
    Seal,
    Sealed,
    Served,
    Task,
    Unsealable,
    WorkerJob,
)
from batten.work.usage import Teller

if TYPE_CHECKING:
    from batten.work.own_workers.lane import Lane
    from batten.work.own_workers.serving import Serve

CHUNK_SECONDS = 0.25
"""After so much work a worker puts aside what it has, so that no kill costs more."""


class MisfitsError(Exception):
    """Items that are only now found to have failed; never leaves the bench."""

    def __init__(self, misfits: Sequence[Failure]) -> None:
        super().__init__()
        self.misfits = list(misfits)


class Bench:
    """One for all workers; each has its own reader, its own constructed classes."""

    def __init__(self, job: WorkerJob) -> None:
        self._job = job
        self.staging = Staging(job)
        self.reopening = Reopening(job, self.staging)
        self._together = Together(self.put_aside)
        self._own = local()
        self._schema: tuple[bytes | None, pa.Schema | None] = (None, None)

    def __reduce__(self) -> tuple[type[Bench], tuple[WorkerJob]]:
        """Readers and constructed classes are of this process."""
        return Bench, (self._job,)

    def work(self, task: Task | Serve, mark: Mark) -> Answer:
        match task:
            case Prepare():
                return self._prepare(task, mark)
            case Seal():
                return self._seal(task)
            case Reopen():
                return self.reopening.reopen(task.batch, tries_failed=task.tries_failed)
            case _:
                return self._serve(task, mark)

    def _serve(self, task: Serve, mark: Mark) -> Served:
        from batten.work.own_workers.serving import serve

        job, teller = self._job, Teller(self._job.make_journal())
        task.enter()
        outfit = self._make_outfit(teller, task.worker, lanes={})
        # Who asks keeps results, and tries again.
        step = replace(job.steps[task.number], cache=None)
        call = Call(step, task.number, outfit)
        if outfit.seeding is None:
            seed_held([call.function])
        return serve(task, call, teller, mark, job.worker_items_max)

    def _make_outfit(
        self, teller: Teller, worker: Worker, lanes: Mapping[int, Lane] | None = None
    ) -> Outfit:
        job = self._job
        return Outfit(
            seeding=Seeding(job.seed) if job.seed is not None else None,
            teller=teller,
            worker=worker,
            lanes=job.lanes if lanes is None else lanes,
        )

    def _prepare(self, task: Prepare, mark: Mark) -> Prepared:
        began = perf_counter()
        if mark.is_draining and task.condemned is None:
            return Prepared(batch=task.batch, start=task.start, stop=task.start)
        batch = self._job.plan.batch(task.batch)
        schema = self.read_schema(task.schema)
        if task.condemned is not None:
            done = Done(start=task.start, stop=task.stop, failures=[task.condemned])
        else:
            done = self._run(task, batch, mark, schema)
        executed = 0 if task.condemned is not None else done.stop - done.start
        if executed:
            gone = self._job.plan.find_gone(batch)
            executed -= len(gone.intersection(range(done.start, done.stop)))
        stop = done.stop
        sealed: Sealed | None = None
        if done.start == 0 and done.stop == batch.items and (schema is not None or task.may_pin):
            sealed = self._seal_whole(task, batch, done)
        chunks = self._bring(task, batch, done) if sealed is None else ()
        if done.error is not None:
            # The run ends; the next one adopts what is staged.
            raise done.error
        failures = done.failures
        return Prepared(
            batch=task.batch,
            start=done.start,
            stop=done.stop,
            chunks=chunks,
            sealed=sealed,
            executed=executed,
            failures=len(failures),
            first_failure=failures[0] if failures else None,
            ended=tell_ended(range(done.start, stop), failures),
            is_fitted=schema is not None,
            seconds=perf_counter() - began,
        )

    def _seal_whole(self, task: Prepare, batch: PlanBatch, done: Done) -> Sealed | None:
        pieces = self._make_pieces(task.schema, [done])
        if done.stop < batch.items:
            return None
        try:
            schema = self.read_schema(task.schema)
            return self._store_sealed(batch, pieces, schema, is_reopened=task.is_reopened)
        except MisfitsError as error:
            done.failures = error.misfits
            return None

    def _bring(self, task: Prepare, batch: PlanBatch, done: Done) -> tuple[StagedChunk, ...]:
        """What one file holds of several tasks is told with one of them. So a task that goes
        without an answer, by its error or with its machine, has files of its own."""
        job = self._job
        if done.error is not None or job.chunk_seconds is not None or job.is_adopting:
            return self.put_aside(batch, task.schema, [done])
        return self._together.put_aside(batch, task.schema, done)

    def put_aside(
        self, batch: PlanBatch, schema: bytes | None, ended: Sequence[Done]
    ) -> tuple[StagedChunk, ...]:
        """Items of the batch, in order, of tasks that were given this schema."""
        pieces = self._make_pieces(schema, ended)
        return tuple(self.staging.store_piece(batch, piece) for piece in pieces)

    def _make_pieces(self, schema: bytes | None, ended: Sequence[Done]) -> list[Piece]:
        job = self._job
        pieces = make_pieces(ended, self.read_schema(schema), keeps_failures=job.keeps_failures)
        if not job.is_adopting:
            return pieces
        return [
            replace(piece, adopted=frozenset(range(piece.start, piece.stop))) for piece in pieces
        ]

    def _run(self, task: Prepare, batch: PlanBatch, mark: Mark, schema: pa.Schema | None) -> Done:
        own = self._own
        if not hasattr(own, "runner"):
            own.reader = self._job.source.open()
            own.items = 0
            job = self._job
            own.teller = Teller(job.make_journal())
            outfit = self._make_outfit(own.teller, Worker(index=getattr(mark, "slot", 0)))
            own.runner = ItemRunner(
                job.steps, job.key_column, job.has_time_limit, job.make_item_files(), outfit
            )
        runner: ItemRunner = own.runner
        stop, most = task.stop, self._job.worker_items_max  # decision 0061
        if most is not None and not runner.takes_units:
            stop = min(stop, task.start + most - own.items)
        wanted = self._job.plan.wanted(batch, task.start, stop)
        runner.batch = batch.number
        keys: Sequence[Any]
        if wanted.keys is not None:
            keys = wanted.keys
        else:
            keys = range(wanted.first_ordinal, wanted.first_ordinal + wanted.count)
        with own.teller.working():
            own.teller.begin()
            done = runner.run(
                read_planned(own.reader, wanted),
                keys,
                task.start,
                batch.first_item,
                mark,
                schema,
                CHUNK_SECONDS if self._job.chunk_seconds is None else self._job.chunk_seconds,
                task.is_apart,
                task.failures_max,
            )
        if runner.files is not None:
            runner.files.sync()
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
            piece = self.staging.load(chunk)
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
                delete(job.storage, job.layout.staged_chunk(chunk))
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
        """The batch, sealed and staged; None if it has no rows that could pin the schema.
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
                job.declared,
                job.batch_rules,
            )
        except (PinRefusedError, BatchRefusedError):
            for piece in pieces:
                self.staging.store_piece(batch, piece)
            raise
        if made is None:
            return None
        if made.misfits and not job.keeps_failures:
            raise MisfitsError(made.misfits)
        quarantine_digest = ""
        if made.quarantine is not None:
            quarantine_digest = self.staging.store_file(batch, "quarantine", made.quarantine)
        part, described = made.part, made.description
        if is_reopened and (kept := self.reopening.find_kept(batch, made)) is not None:
            part, described = kept
        digest = self.staging.store_file(batch, "sealed", part)
        return Sealed(
            described=described,
            size=part.size,
            digest=digest,
            quarantine_digest=quarantine_digest,
            schema=made.pinned.serialize().to_pybytes() if made.pinned is not None else None,
            first_misfit=made.misfits[0] if made.misfits else None,
            slowest=encode_slowest(
                merge_slowest(slow for piece in pieces for slow in piece.slowest)
            ),
            ended=tell_ended(range(batch.items), made.failures) if made.misfits else (),
        )

    def read_schema(self, serialized: bytes | None) -> pa.Schema | None:
        if serialized is None:
            return None
        known, schema = self._schema
        if known != serialized:
            schema = pa.ipc.read_schema(pa.py_buffer(serialized))
            self._schema = serialized, schema
        return schema
