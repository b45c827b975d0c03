"""What the function of a whole-table job made, kept with the ledger.

It is needed where a table is among the destinations, or there are several. The function runs once.
Its table is written as one file, `RESULT.parquet` in the control folder, which is durable before
any destination gets a row. Each destination is given what the file holds. So a run that was killed
between two goes on with the same rows, and the function is not called again (decision 0100). Nor is
it called where a destination is lost later, or added. If the file is lost, the function is called
again, and may give other rows: then every destination gets these (decision 0153).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from batten.deliver.supply import Supply
from batten.model.value_class import value_class
from batten.run.context import Context
from batten.sinks.base import Staged
from batten.sinks.files.file import MadeFile
from batten.sinks.files.formats import encode_parquet
from batten.storage.base import Folder
from batten.storage.changing.publishing import fresh_name
from batten.storage.digests import Measured, digest_file
from batten.storage.relative import folder_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

OF = b"batten.result"
"""Metadata of the file: what it was made of."""

_SCHEMA = b"ARROW:schema"


@value_class
class _Held:
    """A file that is whole, and made of what the run is about."""

    schema: pa.Schema
    rows: int
    digest: str


class AppliedResult:
    """The result of one run, under the ledger's lock. `make_file` runs the function."""

    def __init__(
        self, context: Context, make_file: Callable[[Context, ResultFile, Staged], None]
    ) -> None:
        self._context = context
        self._make_file = make_file
        self._name = context.layout.result
        self._found: _Held | None = None

    def ensure(self, batches: int, given: Collection[str]) -> str:
        """Make it, unless it is there, and is what destinations were `given`. Both are told by
        their digests.

        Raises whatever the function ends with."""
        context, storage, layout = self._context, self._context.folder, self._context.layout
        whole, identity = Supply(context, "").stage_all(batches), context.identity
        of = f"{whole.token.digest} {identity.fingerprint.digest if identity else ''}"
        found = self._find(of)
        if found is None or (given and found.digest not in given):
            file = ResultFile(storage, self._name, staging=layout.staging, of=of)
            self._make_file(context, file, whole)
            found = self._find(of)
        if found is None:
            raise LookupError(f"{self._name} was made, and is not there")
        # Who put it there may have been killed before its name was durable.
        storage.sync_names(folder_of(self._name))
        self._found = found
        return found.digest

    def stage(self, whole: Staged) -> Staged:
        """Give it in the place of the tables that `whole` describes. Its token stands for the bytes
        that were made, not for the tables."""
        if self._found is None:
            raise LookupError(f"{self._name} was not made")
        return replace(
            whole,
            token=replace(whole.token, digest=self._found.digest),
            is_whole=True,
            schema=self._found.schema,
            rows=self._found.rows,
            read=self._read,
            load=lambda: self._context.folder.read(self._name, bytes_max=None),
        )

    def discard(self) -> None:
        """It is of no use any more."""
        self._found, storage = None, self._context.folder
        if storage.find(self._name) is not None:
            storage.delete(self._name)

    def _find(self, of: str) -> _Held | None:
        """None if it is not there, is damaged, or was made of other tables or by other code."""
        import pyarrow as pa

        storage = self._context.folder
        if storage.find(self._name) is None:
            return None
        try:
            with self._open() as reader:
                told = (reader.metadata.metadata or {}).get(OF, b"").decode()
                schema, rows = _find_schema(reader), reader.metadata.num_rows
                # A damaged page is told by its checksum.
                for _ in reader.iter_batches():
                    pass
        except (pa.ArrowException, OSError, ValueError):
            return None
        if told != of:
            return None
        digest = f"sha256:{digest_file(storage, self._name)}"
        return _Held(schema=schema, rows=rows, digest=digest)

    def _read(self) -> Iterator[pa.RecordBatch]:
        with self._open() as reader:
            schema = _find_schema(reader)
            for batch in reader.iter_batches():
                yield batch.cast(schema)

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        import pyarrow.parquet as pq

        with self._context.folder.open(self._name) as file:
            yield pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True)


def _find_schema(reader: pq.ParquetFile) -> pa.Schema:
    """As the function gave it: Parquet has no column of whole seconds, for one."""
    import base64

    import pyarrow as pa

    told = (reader.metadata.metadata or {}).get(_SCHEMA)
    schema = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(told))) if told else None
    kept = {k: v for k, v in ((schema and schema.metadata) or {}).items() if k != OF}
    return (schema or reader.schema_arrow).with_metadata(kept or None)


class ResultFile:
    """The file, as another process writes it for the one that holds the lock."""

    def __init__(self, storage: Folder, name: str, *, staging: str, of: str) -> None:
        self._storage = storage
        self._name = name
        self._staging = staging
        self._of = of

    def make(self, staged: Staged) -> MadeFile:
        """Write it, synced, under a throwaway name."""
        known = staged.schema.metadata or {}
        schema = staged.schema.with_metadata({**known, OF: self._of})
        self._storage.ensure_folder(self._staging)
        throwaway, measured = fresh_name(self._staging, "file"), Measured()
        pieces = measured.pass_on(encode_parquet(schema, has_checksums=True)(staged.read()))
        self._storage.stage(throwaway, pieces, is_synced=True)
        return MadeFile(
            name=throwaway,
            rows=staged.rows,
            size=measured.size,
            digest=measured.digest,
            replaces="",
        )

    def place(self, made: MadeFile, staged: Staged) -> None:
        """Put it in its place, durable."""
        self._storage.replace(made.name, self._name)
        self._storage.sync_names(folder_of(self._name))
