"""The published parts of a dataset, handed in the order of the plan to what reads Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from batten.errors import CorruptError, InconsistentError, UsageError
from batten.ledger.facts.observation import Observation
from batten.ledger.files.part_rows import BATCH_ROWS, PartRows, refuse_much
from batten.ledger.files.schema_file import load_schema
from batten.model.disk.names import Layout
from batten.model.disk.records import PART_KEY, Config, Unreadable, decode_record
from batten.model.telling.commands import command
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.optional import import_optional
from batten.storage.base import Store

if TYPE_CHECKING:
    import duckdb
    import polars
    import pyarrow as pa

_GLOB = str.maketrans({"[": "[[]", "*": "[*]", "?": "[?]"})


@value_class
class Parts:
    """Exactly the parts that were observed; `sizes` are theirs in bytes by batch, `path` is the
    output for messages. A reader that streams is told when another dataset took their place."""

    storage: Store
    layout: Layout
    path: str
    config: Config
    sizes: Mapping[int, int]
    is_keyed: bool

    @property
    def files(self) -> list[str]:
        """The paths of the parts, in order; of a storage on this machine."""
        return [
            os.path.join(self.storage.place, self.layout.part(batch))
            for batch in sorted(self.sizes)
        ]

    def read_schema(self) -> pa.Schema:
        """The columns; of a dataset without parts, as far as they are known."""
        import pyarrow as pa

        for batch in sorted(self.sizes)[:1]:
            with self._open(batch) as file, self._translated(batch):
                return _own_schema(PartRows(file).schema)
        fields: list[Any] = []
        if self.config.key_column:
            key = pa.string() if self.is_keyed else pa.int64()
            fields.append(pa.field(self.config.key_column, key, nullable=False))
        if self.storage.find(self.layout.schema) is not None:
            try:
                fields += load_schema(self.storage, self.layout.schema)
            except Unreadable as error:
                raise CorruptError(
                    f"{self.layout.schema}: {error}.",
                    safe="Nothing was changed.",
                    next=f"See what else is damaged: {command('verify', self.path)}",
                ) from error
        return pa.schema(fields)

    def read_batches(
        self, columns: Sequence[str] | None = None, *, rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Record batches of at most so many rows; what is held does not grow with the parts."""
        first: pa.Schema | None = None
        for batch in sorted(self.sizes):
            with self._open(batch) as file, self._translated(batch):
                reader = PartRows(file)
                schema = _own_schema(reader.schema)
                first = first if first is not None else schema
                if not schema.equals(first):
                    raise self._corrupt(batch, "its columns are not those of the first part")
                if columns is not None:
                    schema = _select(schema, columns)
                for each in reader.read_batches(schema.names, rows=rows):
                    yield each.replace_schema_metadata(schema.metadata)

    def read_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, in memory; of files that stand for absurdly more, an error."""
        import pyarrow as pa

        schema = self.read_schema()
        if columns is not None:
            schema = _select(schema, columns)
        batches = self._gather(self.read_batches(columns))
        return pa.Table.from_batches(batches, schema=schema) if batches else schema.empty_table()

    def _gather(self, batches: Iterator[pa.RecordBatch]) -> list[pa.RecordBatch]:
        try:
            return list(refuse_much(batches, sum(self.sizes.values())))
        except Unreadable as error:
            raise CorruptError(
                f"{self.path} can't be read into memory: {error} of memory.",
                safe="Nothing was changed.",
                next="If these are your rows, read some at a time with to_batches(), or have "
                f"them in one file: {command('export', self.path, 'rows.parquet')}",
            ) from error

    def scan_polars(self) -> polars.LazyFrame:
        """A frame that reads when it is collected, and only what is asked for."""
        library = import_optional("polars", "scan_polars()")
        self._refuse_other()
        if not self.sizes:
            empty: polars.LazyFrame = library.from_arrow(self.read_schema().empty_table()).lazy()
            return empty
        # The names are those of files, whatever a wildcard or a `name=value` in them may mean.
        frame: polars.LazyFrame = library.scan_parquet(
            self.files, glob=False, hive_partitioning=False
        )
        return frame

    def relate_duckdb(
        self, connection: duckdb.DuckDBPyConnection | None
    ) -> duckdb.DuckDBPyRelation:
        """A relation that reads when it is executed, and only what is asked for."""
        library = import_optional("duckdb", "to_duckdb()")
        self._refuse_other()
        own = connection if connection is not None else library.connect()
        if not self.sizes:
            return own.from_arrow(self.read_schema().empty_table())
        if self.storage.local is None:
            # DuckDB would have to load an extension, and be given credentials.
            return own.from_arrow(self._open_arrow())
        names = [name.translate(_GLOB) for name in self.files]
        return own.read_parquet(names, hive_partitioning=False)

    def _open_arrow(self) -> Any:
        """The parts as a dataset of Arrow, of which only what is asked for is read."""
        import pyarrow as pa
        import pyarrow.dataset as arrow

        form = arrow.ParquetFileFormat()
        fragments = [
            form.make_fragment(pa.PythonFile(self._open(batch), mode="r"))
            for batch in sorted(self.sizes)
        ]
        return arrow.FileSystemDataset(fragments, self.read_schema(), form)

    def _open(self, batch: int) -> BinaryIO:
        name = self.layout.part(batch)
        try:
            file = self.storage.open(name)
        except FileNotFoundError as error:
            raise self._changed(f"{name} is gone") from error
        try:
            size = file.seek(0, os.SEEK_END)
            if size != self.sizes[batch]:
                raise self._changed(
                    f"{name} has {count_of(size, 'byte')}, not {self.sizes[batch]:,}"
                )
            file.seek(0)
            self._refuse_other()
        except BaseException:
            file.close()
            raise
        return file

    def _refuse_other(self) -> None:
        """Raise where another dataset has taken the place of this one, or is about to."""
        try:
            found = decode_record(Config, self.storage.read(self.layout.config))
        except (FileNotFoundError, Unreadable):
            found = None
        if found != self.config or self.storage.find(self.layout.replacing) is not None:
            raise self._changed("another dataset has taken its place")

    def _changed(self, evidence: str) -> InconsistentError:
        return InconsistentError(
            f"{self.path} changed since it was opened: {evidence}.",
            safe="Nothing was changed by reading.",
            next=f"Open it again; if this remains: {command('verify', self.path)}",
        )

    @contextmanager
    def _translated(self, batch: int) -> Iterator[None]:
        """What Arrow raises of a damaged part, as `CorruptError`."""
        import pyarrow as pa

        try:
            yield
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise self._corrupt(batch, f"{error}".partition("\n")[0]) from error

    def _corrupt(self, batch: int, why: str) -> CorruptError:
        return CorruptError(
            f"{self.layout.part(batch)} can't be read: {why}.",
            safe="Nothing was changed.",
            next=f"See what else is damaged: {command('verify', self.path)}",
        )


def parts_of(storage: Store, layout: Layout, path: str, observation: Observation) -> Parts:
    """The parts of an observed dataset, which must have its `dataset.json`."""
    if observation.config is None:
        raise LookupError(f"{layout.config} was not there to be observed")
    segments = observation.segments
    return Parts(
        storage=storage,
        layout=layout,
        path=path,
        config=observation.config,
        sizes=dict(observation.parts),
        is_keyed=bool(segments) and segments[0].is_keyed,
    )


def _own_schema(schema: pa.Schema) -> pa.Schema:
    """Without what the part says of itself."""
    kept = {k: v for k, v in (schema.metadata or {}).items() if k != PART_KEY.encode()}
    return schema.with_metadata(kept) if kept else schema.remove_metadata()


def _select(schema: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    missing = [name for name in columns if schema.get_field_index(name) < 0]
    if missing:
        raise UsageError(
            f"There is no column {missing[0]!r}.",
            safe="Nothing was changed.",
            next=f"The columns are: {', '.join(schema.names)}.",
        )
    return pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)
