"""Finished chunks as files: Arrow tables that say which items they hold and which of them
failed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from batten.engine.calls import Failure
from batten.engine.rows import ITEM
from batten.model.names import DIGEST_CHARACTERS
from batten.storage.base import Storage

_CHUNK = b"batten.chunk"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Items `start` to `stop` (exclusive) of a batch, all finished: the rows there are, and the
    failures. An item with neither was filtered."""

    start: int
    stop: int
    table: pa.Table | None
    failures: tuple[Failure, ...]


def cut_pieces(
    start: int, stop: int, tables: Sequence[pa.Table], failures: Sequence[Failure]
) -> list[Piece]:
    """A piece for each table, or one without rows; together they hold all items from `start` to
    `stop`."""
    starts = [start, *(table.column(ITEM)[0].as_py() for table in tables[1:])]
    stops = [*starts[1:], stop]
    return [
        Piece(
            start=first,
            stop=last,
            table=tables[number] if tables else None,
            failures=tuple(f for f in failures if first <= f.item < last),
        )
        for number, (first, last) in enumerate(zip(starts, stops, strict=True))
    ]


def encode_piece(piece: Piece, batch: int, work: str) -> tuple[bytes, str]:
    """The bytes of a staged chunk, and the digest that goes into its name. `work` is the
    fingerprint of what made it."""
    table = piece.table if piece.table is not None else pa.table({ITEM: pa.array([], pa.int64())})
    about = {
        "batch": batch,
        "start": piece.start,
        "stop": piece.stop,
        "work": work,
        "failures": [asdict(failure) for failure in piece.failures],
    }
    metadata = {**(table.schema.metadata or {}), _CHUNK: json.dumps(about).encode()}
    table = table.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    return data, hashlib.sha256(memoryview(data)).hexdigest()[:DIGEST_CHARACTERS]


def load_piece(storage: Storage, name: str, digest: str, batch: int, work: str) -> Piece | None:
    """The piece in a staged file, or None where the file is gone, torn, or of other work."""
    try:
        data = storage.read(name)
    except FileNotFoundError:
        return None
    if hashlib.sha256(data).hexdigest()[:DIGEST_CHARACTERS] != digest:
        return None
    table = pa.ipc.open_file(pa.py_buffer(data)).read_all()
    about = json.loads(table.schema.metadata[_CHUNK])
    if about["work"] != work or about["batch"] != batch:
        return None
    return Piece(
        start=about["start"],
        stop=about["stop"],
        table=_without_chunk(table) if table.num_rows else None,
        failures=tuple(Failure(**failure) for failure in about["failures"]),
    )


def _without_chunk(table: pa.Table) -> pa.Table:
    kept = {k: v for k, v in (table.schema.metadata or {}).items() if k != _CHUNK}
    return table.replace_schema_metadata(kept or None)
