"""Putting finished work aside in `staged/`, and taking what failed out of it again."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from batten.errors import StorageError
from batten.model.disk.items.item_files import (
    DIGEST_COLUMN,
    FILE_COLUMN,
    SIZE_COLUMN,
    ItemFile,
    name_made,
)
from batten.model.disk.names import Layout
from batten.model.disk.staged_names import StagedChunk
from batten.plan.plan import PlanBatch
from batten.rows.columns_of_rows import ITEM
from batten.rows.fit_or_unfit import conform_table
from batten.storage.base import Store
from batten.storage.changing.publishing import delete, put_aside, sync_names
from batten.storage.digests import find_digest
from batten.work.sealing.sealed_rows import load_sealed
from batten.work.staged.chunk_files import Piece, drop_failures, encode_piece, load_piece
from batten.work.tasks import Sealed, WorkerJob
from batten.work.unfitting_rows import fail_unfitting


class Staging:
    """What lies in `staged/` of one dataset. Any number of workers may write at a time."""

    def __init__(self, job: WorkerJob) -> None:
        self._job = job

    def store_file(self, batch: PlanBatch, kind: str, data: pa.Buffer) -> str:
        """A whole file of a sealed batch, synced; its digest."""
        digest = hashlib.sha256(memoryview(data)).hexdigest()
        name = self._job.layout.staged_file(batch.number, kind, digest)
        self._stage(name, memoryview(data), is_synced=True)
        return digest

    def store_piece(
        self, batch: PlanBatch, piece: Piece, *, is_synced: bool = False
    ) -> StagedChunk:
        data, chunk = encode_piece(
            piece,
            batch.number,
            self._job.work,
            self._job.plan.revision(batch, piece.start, piece.stop),
            batch.keys_description,
        )
        self._stage(self._job.layout.staged_chunk(chunk), memoryview(data), is_synced=is_synced)
        return chunk

    def load(self, chunk: StagedChunk) -> Piece | None:
        """None if it is gone, damaged, of other work, or of earlier versions of its items; or a
        file of one of its items is gone."""
        job = self._job
        batch = job.plan.batch(chunk.batch)
        revision, keys = job.plan.revision(batch, chunk.start, chunk.stop), batch.keys_description
        piece = load_piece(job.storage, job.layout, chunk, job.works, revision, keys)
        if piece is not None and self.find_lacking(chunk.batch, piece.table):
            return None
        return piece

    def find_lacking(self, batch: int, rows: pa.Table | None) -> set[int]:
        """The items of these rows of whose files one is neither made nor in its place."""
        job = self._job
        if job.file_names is None or rows is None:
            return set()
        return find_lacking(job.storage, job.layout, batch, rows)

    def has_files(self, sealed: Sealed, planned: PlanBatch) -> bool:
        """Whether all files are there of a sealed batch that was staged by an earlier run."""
        job = self._job
        if job.file_names is None:
            return True
        name = job.layout.staged_file(sealed.batch, "sealed", sealed.digest)
        found = load_sealed(job.storage, job.layout, name, job.plan, planned, job.key_column)
        return not self.find_lacking(sealed.batch, found.rows)

    def without_failures(
        self, batch: PlanBatch, chunk: StagedChunk, schema: pa.Schema | None
    ) -> list[StagedChunk]:
        """The chunk, if nothing in it failed and all its rows fit the schema. Otherwise chunks of
        its other items."""
        storage, layout = self._job.storage, self._job.layout
        piece = self.load(chunk)
        if piece is None:
            return [chunk]
        failed = {failure.item for failure in piece.failures}
        if schema is not None and piece.table is not None:
            _, unfitting = conform_table(piece.table, schema)
            failed.update(failure.item for failure in fail_unfitting(unfitting))
        if not failed:
            return [chunk]
        kept = [
            self.store_piece(batch, each, is_synced=True)
            for each in drop_failures(chunk, piece, failed)
        ]
        sync_names(storage, [layout.staged])
        delete(storage, layout.staged_chunk(chunk))
        return kept

    def _stage(self, name: str, data: memoryview, *, is_synced: bool) -> None:
        """Put a whole file into `staged/`."""
        put_aside(self._job.storage, self._job.layout.staging, name, data, is_synced=is_synced)


def find_lacking(storage: Store, layout: Layout, batch: int, rows: pa.Table) -> set[int]:
    """The items of which a file is neither in `made/` nor, as it was made, in its place."""
    columns = (ITEM, FILE_COLUMN, SIZE_COLUMN, DIGEST_COLUMN)
    lacking: set[int] = set()
    values = [rows.column(name).to_pylist() for name in columns]
    for item, name, size, digest in zip(*values, strict=True):
        if not is_there(storage, layout, batch, ItemFile(name=name, size=size, digest=digest)):
            lacking.add(item)
    return lacking


def is_there(storage: Store, layout: Layout, batch: int, file: ItemFile) -> bool:
    """What is in `made/` was synced before a row told of it, so its size is enough."""
    made = storage.find(name_made(layout, batch, file))
    if made is not None and made.is_file and made.size == file.size:
        return True
    place = f"{layout.output}/{file.name}"
    try:
        found = storage.find(place)
        if found is None or not found.is_file or found.size != file.size:
            return False
        return find_digest(storage, place) == file.digest
    except StorageError:
        return False  # It is computed again, and what is in the way is told then.
