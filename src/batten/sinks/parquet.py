"""The Parquet part of a batch: the same rows give the same bytes."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from batten.model.disk.records import PART_KEY, PartDescription, encode_record

ROW_GROUP_ROWS = 1 << 20


def encode_part(table: pa.Table, description: PartDescription) -> pa.Buffer:
    """The bytes of a part that describes itself in its footer.

    Chunks are joined first, since page boundaries follow them: how the rows were staged must not
    show. Dictionaries only where they pay, in columns of text.
    """
    return _encode(table, {PART_KEY: encode_record(description).decode().strip()})


def encode_rows(table: pa.Table) -> pa.Buffer:
    """The bytes of a file of rows that is no part."""
    return _encode(table, {})


def find_unfit(schema: pa.Schema) -> pa.Field | None:
    """The first column that Parquet can't hold; None if it can hold all."""
    return next((field for field in schema if not _is_storable(field)), None)


def _is_storable(field: pa.Field) -> bool:
    """Told by a try: the library alone knows."""
    tried = pa.schema([field.with_nullable(True)])
    try:
        with pq.ParquetWriter(pa.BufferOutputStream(), tried) as writer:
            writer.write_table(pa.table([pa.nulls(1, field.type)], schema=tried))
    except (NotImplementedError, OSError):
        return False
    except pa.ArrowInvalid:
        pass  # A null where a field within allows none: other values may be there.
    return True


def _encode(table: pa.Table, metadata: dict[str, str]) -> pa.Buffer:
    table = table.combine_chunks()
    kept = {key: value for key, value in (table.schema.metadata or {}).items() if key != b"pandas"}
    table = table.replace_schema_metadata({**kept, **metadata} or None)
    texts = [field.name for field in table.schema if _is_text(field.type)]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=texts or False,
        store_schema=True,
    ) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    return sink.getvalue()


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
