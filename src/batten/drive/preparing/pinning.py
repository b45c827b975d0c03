"""The schema of a dataset: what the job says, or what its first rows pinned.

It is durable before any part that has it (decision 0013).
"""

from __future__ import annotations

import pyarrow as pa

from batten.errors import CorruptError, RefusedError
from batten.ledger.files.schema_file import decode_schema, encode_schema, list_added
from batten.ledger.guarded import carry_out
from batten.model.disk.records import NewerFormat, Unreadable
from batten.model.rules.guards import PINNING
from batten.rows.declared import Declared
from batten.run.context import Context
from batten.storage.changing.publishing import create


def load_schema(context: Context, declared: Declared) -> bytes | None:
    """The schema that is pinned, or that the job says without a row, or None yet. Where all items
    there were gave no rows, nothing is pinned."""
    name = context.layout.schema
    try:
        schema = decode_schema(context.storage.read(name))
        is_empty = not schema.names and declared.schema != schema
        return None if is_empty else serialize(schema)
    except FileNotFoundError:
        pass
    except NewerFormat as error:
        raise RefusedError(
            f"{name}: {error}.",
            safe="Nothing was changed.",
            next="Use the newer batten that wrote it.",
        ) from error
    except Unreadable as error:
        raise CorruptError(
            f"{name} can't be read: {error}.",
            safe="Nothing was changed.",
            next="Restore it from a copy.",
        ) from error
    schema = declared.schema
    if schema is None or not declared.is_settled:
        return None
    return store_schema(context, schema)


def store_schema(context: Context, schema: pa.Schema) -> bytes:
    """Make it durable."""
    storage, layout, earlier = context.storage, context.layout, context.earlier
    names: list[str] = []
    if earlier is not None:
        before = list_added(storage, earlier.layout.schema)
        new = [name for name in schema.names if name not in earlier.schema.names]
        names = [*before, *new]
    data = encode_schema(schema, names)
    if storage.folder is None:
        for step in PINNING:
            carry_out(storage, step, layout.schema, data)
    else:
        create(storage, layout.staging, layout.schema, data)
    return serialize(schema)


def serialize(schema: pa.Schema) -> bytes:
    data: bytes = schema.serialize().to_pybytes()
    return data
