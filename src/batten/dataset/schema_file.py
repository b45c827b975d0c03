"""`schema.json`: the columns that every part has, the key's aside."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from batten.errors import StorageError
from batten.model.records import NewerFormat, Unreadable
from batten.model.words import FORMAT_VERSION
from batten.storage.base import Storage

if TYPE_CHECKING:
    import pyarrow as pa


def encode_schema(schema: pa.Schema) -> bytes:
    """The schema for batten, and its fields for people."""
    return json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "ipc": base64.b64encode(schema.serialize().to_pybytes()).decode(),
            "fields": _list_fields(schema),
        }
    ).encode()


def decode_schema(data: bytes) -> pa.Schema:
    """The schema in the bytes of the file; raises `Unreadable`, or `NewerFormat`."""
    import pyarrow as pa

    try:
        value = json.loads(data)
        if value["format_version"] > FORMAT_VERSION:
            raise NewerFormat(f"it is of format version {value['format_version']}")
        if value["format_version"] != FORMAT_VERSION:
            raise Unreadable(f"it is of format version {value['format_version']!r}")
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(value["ipc"], validate=True)))
        if value["fields"] != _list_fields(schema):
            raise Unreadable("its two lists of columns differ")
    except Unreadable:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Unreadable(f"it can't be read: {error}") from error
    except (OSError, pa.ArrowException) as error:
        raise Unreadable(f"it holds no schema: {error}") from error
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
