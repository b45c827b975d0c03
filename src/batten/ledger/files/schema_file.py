"""`schema.json`: the columns that every part has, the key's aside."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from batten.errors import CorruptError, StorageError
from batten.model.disk.names import Layout
from batten.model.disk.records import PinnedSchema, Unreadable, decode_record, encode_record
from batten.model.telling.commands import command
from batten.storage.base import Store
from batten.storage.changing.publishing import create

if TYPE_CHECKING:
    import pyarrow as pa


def encode_schema(schema: pa.Schema, added: Sequence[str] = ()) -> bytes:
    """The schema for batten, and its fields for people. `added` are columns that came later."""
    ipc = base64.b64encode(schema.serialize().to_pybytes()).decode()
    return encode_record(PinnedSchema(ipc=ipc, fields=_list_fields(schema), added=list(added)))


def decode_schema(data: bytes) -> pa.Schema:
    """The schema in the bytes of the file; raises `Unreadable`, or `NewerFormat`."""
    import pyarrow as pa

    record = decode_record(PinnedSchema, data)
    try:
        message = base64.b64decode(record.ipc, validate=True)
        schema = pa.ipc.read_schema(pa.py_buffer(message))
        fields = _list_fields(schema)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise Unreadable(f"it holds no schema: {error}") from error
    if record.fields != fields:
        raise Unreadable("its two lists of columns differ")
    return schema


def load_schema(storage: Store, name: str) -> pa.Schema:
    """The schema in the file; raises `Unreadable`, also where there is none."""
    try:
        return decode_schema(storage.read(name))
    except FileNotFoundError as error:
        raise Unreadable("it is gone") from error
    except StorageError as error:
        raise Unreadable(f"it can't be read: {error}") from error


def list_added(storage: Store, name: str) -> list[str]:
    """The columns that came later than others; none where the file can't tell."""
    try:
        return decode_record(PinnedSchema, storage.read(name)).added
    except (FileNotFoundError, Unreadable):
        return []


def rebuild_schema(storage: Store, layout: Layout, batches: Iterable[int], key: str) -> None:
    """Make the file anew from the first of the parts: each has the columns that were pinned, and
    that of the key, if there is one. Raises `CorruptError` if that part can't be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = layout.part(min(batches))
    try:
        found = pq.read_schema(pa.BufferReader(storage.read(name, bytes_max=None)))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise CorruptError(
            f"{layout.schema} is gone, and {name} can't be read: {error}.",
            safe="Nothing was changed.",
            next=f"Restore one of them from a copy; to see more: "
            f"{command('verify', f'{storage.place}/{layout.output}')}",
        ) from error
    fields = [_without_number(field) for field in found if field.name != key]
    create(storage, layout.staging, layout.schema, encode_schema(pa.schema(fields)))


def _without_number(field: pa.Field) -> pa.Field:
    """Parquet numbers the columns, which Arrow reads as their metadata."""
    own = {name: value for name, value in (field.metadata or {}).items() if name != _NUMBER}
    return field.with_metadata(own) if own else field.remove_metadata()


_NUMBER = b"PARQUET:field_id"


def _list_fields(schema: pa.Schema) -> list[str]:
    return [f"{field.name}: {field.type}" for field in schema]
