"""`schema.json`: the columns that every part has, the key's aside."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from batten.errors import StorageError
from batten.model.records import PinnedSchema, Unreadable, decode_record, encode_record
from batten.storage.base import Storage

if TYPE_CHECKING:
    import pyarrow as pa


def encode_schema(schema: pa.Schema) -> bytes:
    """The schema for batten, and its fields for people."""
    ipc = base64.b64encode(schema.serialize().to_pybytes()).decode()
    return encode_record(PinnedSchema(ipc=ipc, fields=_list_fields(schema)))


def decode_schema(data: bytes) -> pa.Schema:
    """The schema in the bytes of the file; raises `Unreadable`, or `NewerFormat`."""
    import pyarrow as pa

    record = decode_record(PinnedSchema, data)
    try:
        message = base64.b64decode(record.ipc, validate=True)
        schema = pa.ipc.read_schema(pa.py_buffer(message))
    except (ValueError, OSError, pa.ArrowException) as error:
        raise Unreadable(f"it holds no schema: {error}") from error
    if record.fields != _list_fields(schema):
        raise Unreadable("its two lists of columns differ")
    return schema


def load_schema(storage: Storage, name: str) -> pa.Schema:
    """The schema in the file; raises `Unreadable`, also where there is none."""
    try:
        return decode_schema(storage.read(name))
    except FileNotFoundError as error:
        raise Unreadable("it is gone") from error
    except StorageError as error:
        raise Unreadable(f"it can't be read: {error}") from error


def _list_fields(schema: pa.Schema) -> list[str]:
    return [f"{field.name}: {field.type}" for field in schema]
